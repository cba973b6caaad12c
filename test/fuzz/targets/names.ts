import { formatTime, isFileName, isName, makeFileName, parseTime } from '../../../src/client/format/field.ts'
import { hides } from '../../../src/client/format/visible.ts'
import { faultOf, quoteName, showName } from '../../../src/wording/name.ts'
import { looksOf } from '../../../src/wording/likeness.ts'
import { formatJson, sanitize, sanitizeLine } from '../../../src/cli/program/show.ts'
import { breakLines, clip, graphemes, lineText, rowWidth, showLine, showText, widthOf, wrap } from '../../../src/cli/chat/text.ts'
import { fail, same, type Target, utf8 } from '../target.ts'

/** Controls but TAB and LF, separators, and controls of the direction. */
const CONTROLS = /[[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]--[\t\n]]/v
const WIDTH = 20

/** A name or text that a stranger chose, as commands and the chat show it. */
export const target: Target = {
  name: 'names',
  covers: ['client/format/visible.ts', 'client/format/field.ts', 'wording/name.ts', 'cli/program/show.ts', 'cli/chat/text.ts'],
  longest: 400,
  stretched: 4_096,
  seeds: () =>
    [
      'Alice',
      'Zoë \u202e evil',
      'می‌خواهم',
      '👩‍👩‍👧‍👦 👍🏽 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣',
      'Z̸̢̛͍a̷l̵g̶o̴\u0301\u0301\u0301\u0301\u0301\u0301',
      'क्‍ष শ্রী',
      'a\tb\r\nc\x1b[31m\x07',
      'Alice: hi\nBob [verified]: x',
      '../../etc/passwd',
      'nul.txt',
      `${'long'.repeat(70)}.jpeg`,
      'Аlice ✓ \u2800 \u3164 \ufdfd',
      '2026-11-26T23:00:00Z',
    ].map((text) => Buffer.from(text)),
  run(input) {
    const text = utf8(input)
    const shown = sanitize(text)
    if (CONTROLS.test(shown)) fail(`sanitize leaves a control character in ${JSON.stringify(shown)}`)
    if (/[\n\t]/.test(sanitizeLine(text))) fail('sanitizeLine leaves a line break')
    same('sanitize twice', sanitize(shown), shown)
    if (!/^[\x20-\x7e]*$/.test(formatJson({ text }))) fail('formatJson is not in ASCII')
    same('JSON', (JSON.parse(formatJson({ text })) as { text: string }).text, text)
    const file = makeFileName(text)
    if (!isFileName(file)) fail(`makeFileName makes ${JSON.stringify(file)}`)
    if (isFileName(text)) same('a file name stays', file, text)
    if (isName(text) && hides(text)) fail('a name hides something')
    const fault = faultOf(text, 'person')
    const quoted = quoteName(text)
    const line = showName(text, 'person')
    if (CONTROLS.test(quoted) || CONTROLS.test(line) || /[\n\t]/.test(quoted + line)) fail('a shown name has a control character')
    if (fault !== undefined && !/^".*"$/s.test(line)) fail('a wrong name without quotes')
    if (fault === undefined && /["\n:]/.test(line)) fail(`a good name can imitate a line: ${line}`)
    looksOf(text)
    const time = parseTime(text)
    if (time !== undefined) same('a time', formatTime(time), text)
    const safe = showText(text)
    if (CONTROLS.test(safe.replaceAll('\n', '')) || CONTROLS.test(showLine(text))) fail('the chat shows a control character')
    for (const row of wrap(safe, WIDTH)) if (rowWidth(row) > WIDTH) fail(`a row is ${rowWidth(row)} cells wide`)
    if (widthOf(clip(showLine(text), WIDTH)) > WIDTH) fail('a clipped line is too wide')
    const all = graphemes(safe)
    const lines = breakLines(all, WIDTH)
    if (lines.map(({ start, end }) => all.slice(start, end).join('')).join('') !== safe) fail('lines lose text')
    for (const each of lines) lineText(all, each)
    // Without the character that a name must not contain: each would be an outcome.
    return `${fault?.replace(/(?:(?<=contain )(?!the word)|(?<=begin with )).*/su, '').replace(/U\+.*/s, '') ?? 'good name'}, ${hides(text) ? 'hides' : 'plain'}`
  },
}
