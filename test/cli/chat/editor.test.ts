/** The chat's input line: motions and deletions by graphemes and words, several lines, and recall of sent texts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  clear,
  cursorPlace,
  type Edit,
  edit,
  type Editor,
  EMPTY,
  insert,
  MOST_TEXT,
  replace,
  textOf,
} from '../../../src/cli/chat/editor.ts'

const WIDTH = 20

/** Returns the text with `|` at the cursor. */
function shown(editor: Editor): string {
  return `${editor.text.slice(0, editor.cursor).join('')}|${editor.text.slice(editor.cursor).join('')}`
}

function at(marked: string): Editor {
  const [before = '', after = ''] = marked.split('|')
  return { ...insert(insert(EMPTY, before), after), cursor: insert(EMPTY, before).text.length }
}

const run = (editor: Editor, ...edits: readonly Edit[]): Editor => edits.reduce((now, what) => edit(now, what, WIDTH), editor)

describe('an edit', () => {
  it.each<[string, Edit[], string]>([
    ['ab|c', ['left', 'left', 'left'], '|abc'],
    ['a👨‍👩‍👧|', ['left'], 'a|👨‍👩‍👧'],
    ['e\u{301}|x', ['backspace'], '|x'],
    ['a|🇩🇪', ['delete'], 'a|'],
    ['the kettle|', ['word-left'], 'the |kettle'],
    ['the |kettle is', ['word-right'], 'the kettle| is'],
    ['the ket|tle', ['word-back'], 'the |tle'],
    ['the| kettle on', ['word-forward'], 'the| on'],
    ['one\ntwo| three', ['home'], 'one\n|two three'],
    ['one\ntw|o\nthree', ['end'], 'one\ntwo|\nthree'],
    ['one\ntw|o', ['to-home'], 'one\n|o'],
    ['one\n|two', ['to-home'], 'one|two'],
    ['o|ne\ntwo', ['to-end'], 'o|\ntwo'],
    ['one|\ntwo', ['to-end'], 'one|two'],
    ['one two|', ['word-back', 'home', 'yank'], 'two|one '],
    ['ab|c', ['transpose'], 'acb|'],
    ['abc|', ['backspace', 'backspace', 'undo'], 'ab|'],
    ['one\ntwo|', ['up'], 'one|\ntwo'],
    ['on|e\ntwo', ['down'], 'one\ntw|o'],
    ['long line\nab\nlong l|ine', ['up', 'up'], 'long l|ine\nab\nlong line'],
    ['|', ['backspace', 'delete', 'word-back', 'to-end', 'transpose', 'undo', 'left', 'right'], '|'],
  ])('turns %j by %j into the expected text and cursor', (before, edits, after) => {
    expect(shown(run(at(before), ...edits))).toBe(after)
  })

  it('moves up and down by displayed lines', () => {
    expect(shown(run(at('twelve letters and more than a line|'), 'up'))).toBe('twelve letters a|nd more than a line')
  })
})

describe('typed or pasted text', () => {
  it('loses every control character except line breaks', () => {
    expect(textOf(insert(EMPTY, 'a\r\nb\rc\td\u{1b}[31m\u{9b}\0'))).toBe('a\nb\nc    d[31m')
  })

  it('joins a combining mark with the character before it', () => {
    const editor = insert(insert(EMPTY, 'e'), '\u{301}')
    expect(editor.text).toEqual(['e\u{301}'])
    expect(editor.cursor).toBe(1)
  })

  it('is limited in length', () => {
    expect(textOf(insert(insert(EMPTY, 'x'.repeat(MOST_TEXT)), 'y'))).toHaveLength(MOST_TEXT)
  })
})

describe('recall', () => {
  it('goes back through sent texts beyond the first line, and to the draft beyond the last', () => {
    const sent = insert(clear(insert(clear(insert(EMPTY, 'one')), 'two')), 'draft')
    expect(shown(run(sent, 'up'))).toBe('two|')
    expect(shown(run(sent, 'up', 'up', 'up'))).toBe('one|')
    expect(shown(run(sent, 'up', 'up', 'down', 'down'))).toBe('draft|')
    expect(clear(insert(clear(insert(EMPTY, 'one')), 'one')).sent).toEqual(['one'])
  })
})

describe('the cursor', () => {
  it('has the row and column at which it is drawn', () => {
    expect(cursorPlace(at('日本|語'), 10)).toEqual({ row: 0, column: 4 })
    expect(cursorPlace(at('ab\nc|'), 10)).toEqual({ row: 1, column: 1 })
    expect(cursorPlace(at('ab\n|'), 10)).toEqual({ row: 1, column: 0 })
  })

  it('stays within the text after any edits', () => {
    const edits = fc.constantFrom<Edit>(
      'left',
      'right',
      'word-left',
      'word-right',
      'home',
      'end',
      'up',
      'down',
      'backspace',
      'delete',
      'word-back',
      'word-forward',
      'to-home',
      'to-end',
      'yank',
      'transpose',
      'undo',
    )
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            edits.map((what) => ({ what })),
            fc.string({ unit: 'grapheme' }).map((typed) => ({ typed })),
          ),
        ),
        (steps) => {
          const editor = steps.reduce(
            (now: Editor, step) => ('what' in step ? edit(now, step.what, WIDTH) : insert(now, step.typed)),
            EMPTY,
          )
          expect(editor.cursor).toBeGreaterThanOrEqual(0)
          expect(editor.cursor).toBeLessThanOrEqual(editor.text.length)
          expect(replace(editor, textOf(editor)).text).toEqual(editor.text)
          const { row, column } = cursorPlace(editor, WIDTH)
          expect(row).toBeGreaterThanOrEqual(0)
          expect(column).toBeLessThanOrEqual(WIDTH)
        },
      ),
    )
  })
})
