/** Completions, tested in the shells themselves, and the man page, tested by the programs that show it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMMANDS } from '../../../src/cli/command.ts'
import { asfaleia } from '../../support/command.ts'
import { run } from '../../support/process.ts'
import { missing } from '../../support/programs.ts'

let folder: string
const at = (name: string): string => join(folder, name)
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'asfaleia-shell-'))
  for (const shell of ['bash', 'zsh', 'fish', 'man']) {
    const { code, out } = await asfaleia(['completion', shell])
    if (code !== 0) throw new Error(`no completion for ${shell}`)
    writeFileSync(at(shell), out)
  }
  mkdirSync(at('home/contacts'), { recursive: true })
  mkdirSync(at('home/groups'))
  for (const name of ['contacts/Bob', 'contacts/Bob B.', 'groups/Tea']) writeFileSync(at(join('home', name)), '')
})
afterAll(() => rmSync(folder, { recursive: true }))

describe('bash completes', () => {
  const complete = async (...words: string[]): Promise<string[]> => {
    const script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _asfaleia; printf "%s\\n" "${COMPREPLY[@]}"'
    const { code, stdout, stderr } = await run(['bash', '-c', script, 'bash', at('bash'), 'asfaleia', ...words], {
      env: { ASFALEIA_HOME: at('home') },
    })
    expect([code, stderr]).toEqual([0, ''])
    return stdout.split('\n').filter((line) => line !== '')
  }
  test.each<[string[], string[]]>([
    [['pan'], ['panic']],
    [['con'], ['contact']],
    [
      ['contact', 're'],
      ['rename', 'requests', 'renew', 'remove'],
    ],
    [['send', '--out'], ['--outbox']],
    [
      ['send', 'bo'],
      ['Bob', 'Bob\\ B.'],
    ],
    [
      ['contact', 'show', 'b'],
      ['Bob', 'Bob\\ B.'],
    ],
    [['contact', 'show', 'T'], []],
    [['group', 'show', 'T'], ['Tea']],
    [['contact', 'verify', '--con'], ['--confirm']],
    [['contact', 'list', '--con'], []],
    [['doctor', '--allow'], ['--allow-unsafe']],
    [['send', 'bob', '--wait', 'T'], ['Tea']],
    [['get', '--timeout', ''], []],
  ])('%j', async (words, expected) => {
    expect(await complete(...words)).toEqual(expected)
  })
})

test('fish completes commands, verbs, options and names', async (context) => {
  const why = missing('fish')
  if (why !== undefined) return context.skip(why)
  const complete = async (line: string): Promise<string[]> => {
    const { code, stdout, stderr } = await run(['fish', '--no-config', '-c', `source ${at('fish')}; complete -C '${line}'`], {
      env: { ASFALEIA_HOME: at('home'), HOME: folder },
    })
    expect([code, stderr]).toEqual([0, ''])
    return stdout
      .trimEnd()
      .split('\n')
      .map((each) => each.split('\t')[0]!)
      .filter((each) => each !== '')
  }
  expect(await complete('asfaleia pan')).toEqual(['panic'])
  expect(await complete('asfaleia contact re')).toEqual(expect.arrayContaining(['remove', 'rename']))
  expect(await complete('asfaleia send --out')).toEqual(['--outbox'])
  expect(await complete('asfaleia send Te')).toContain('Tea')
  expect(await complete('asfaleia contact verify --con')).toEqual(['--confirm'])
  expect(await complete('asfaleia contact list --con')).toEqual([])
})

test('zsh completes a verb', async (context) => {
  const why = missing('zsh')
  if (why !== undefined) return context.skip(why)
  // Start an interactive shell of its own and press Tab in it.
  const script = `
    zmodload zsh/zpty
    zpty shell zsh -f -i
    zpty -w shell 'PS1= PROMPT_EOL_MARK=; autoload -Uz compinit; compinit -u -D; source ${at('zsh')}; zstyle ":completion:*" list-colors ""; print READY-\${_comps[asfaleia]}'
    zpty -r -m shell seen '*READY-_asfaleia*'
    zpty -w -n shell $'asfaleia contact ren\\t'
    zpty -r -m shell seen '*rename*' && print completed`
  const { stdout, code } = await run(['timeout', '30', 'zsh', '-f', '-c', script], {
    env: { ASFALEIA_HOME: at('home'), HOME: folder, TERM: 'dumb' },
  })
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'completed\n' })
}, 60_000)

test('the man page has no warning and lists every command', async (context) => {
  const why = missing('man', 'groff')
  if (why !== undefined) return context.skip(why)
  expect(await run(['groff', '-man', '-ww', '-z', at('man')])).toMatchObject({ code: 0, stdout: '', stderr: '' })
  const { code, stdout, stderr } = await run(['man', '--warnings', '-l', at('man')], {
    env: { MANWIDTH: '100', LC_ALL: 'C.UTF-8', MANPAGER: 'cat', MAN_KEEP_FORMATTING: '' },
  })
  expect([code, stderr]).toEqual([0, ''])
  for (const name of Object.keys(COMMANDS)) expect(stdout).toMatch(new RegExp(`^ {3}${name}$`, 'm'))
  for (const section of ['EXAMPLES', 'EXIT STATUS', 'ENVIRONMENT']) expect(stdout).toMatch(new RegExp(`^${section}$`, 'm'))
  expect(stdout).toContain("asfaleia send bob 'the kettle is on'")
  expect(stdout).toMatch(/ASFALEIA_SOCKS\n? +The default of --socks in send, get, chat, group, join, page\./)
})

test.each([[[]], [['tcsh']], [['bash', 'zsh']]])('the completion command refuses the arguments %j', async (words) => {
  expect(await asfaleia(['completion', ...words])).toMatchObject({ code: 2, out: '' })
})
