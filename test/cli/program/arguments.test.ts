/** Tests how a page reads a command line, and the errors. */
import { describe, expect, test } from 'vitest'
import { readCommandLine } from '../../../src/cli/program/arguments.ts'
import { CliError } from '../../../src/cli/program/error.ts'
import type { Page } from '../../../src/cli/program/page.ts'
import { createTestIo } from '../../support/terminal.ts'

const TALK = {
  name: 'talk',
  words: ['NAME', '[TEXT]'],
  options: {
    wait: { value: 'SECONDS', implied: '60', about: 'wait' },
    relay: { value: 'ADDRESS', multiple: true, about: 'a relay' },
    key: { value: 'KEY', about: 'a key' },
    follow: { short: 'f', about: 'go on' },
  },
  examples: [],
} as const satisfies Page

const BOOK = {
  name: 'book',
  shared: { json: { about: 'as JSON' } },
  verbs: {
    add: { summary: 'add a person', words: ['CARD …'], options: { name: { value: 'NAME', about: 'their name' } }, examples: [] },
    list: { summary: 'list all', examples: [] },
  },
  examples: [],
} as const satisfies Page

/** A command with a word of its own beside a verb. */
const EITHER = {
  name: 'either',
  words: ['FILE'],
  options: { out: { value: 'FILE', about: 'a file' } },
  verbs: { list: { summary: 'list all', examples: [] } },
  examples: [],
} as const satisfies Page

function read(page: Page, ...argv: string[]): unknown {
  try {
    const { verb, values, words } = readCommandLine(argv, createTestIo(), page) as unknown as {
      verb?: string
      values: object
      words: readonly string[]
    }
    return { ...(verb !== undefined && { verb }), ...(Object.keys(values).length > 0 && { values }), words }
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    expect(error.exitCode).toBe(2)
    return `${error.message} | ${error.hint}`
  }
}

describe('a command line of words and options', () => {
  test.each<[string[], unknown]>([
    [['bob'], { words: ['bob'] }],
    [['bob', 'hi', '--follow'], { values: { follow: true }, words: ['bob', 'hi'] }],
    [['-f', 'bob'], { values: { follow: true }, words: ['bob'] }],
    [['--relay', 'a', 'bob', '--relay=b'], { values: { relay: ['a', 'b'] }, words: ['bob'] }],
    [['bob', '--key', 'a', '--key', 'b'], { values: { key: 'b' }, words: ['bob'] }],
    [['bob', '--key=-x'], { values: { key: '-x' }, words: ['bob'] }],
    [['bob', '--key', '-'], { values: { key: '-' }, words: ['bob'] }],
    [['bob', '--key', '--', 'text'], '--key needs a value: KEY | a value that begins with a dash is written --key=VALUE'],
    [['--', 'bob', '--help'], { words: ['bob', '--help'] }],
  ])('reads %j', (argv, expected) => {
    expect(read(TALK, ...argv)).toEqual(expected)
  })
})

describe('an option whose value may be left out takes the next word if that is a number', () => {
  test.each<[string[], unknown]>([
    [['bob', '--wait'], { values: { wait: '60' }, words: ['bob'] }],
    [['bob', '--wait', '5'], { values: { wait: '5' }, words: ['bob'] }],
    [['bob', '--wait', '0.5', 'hi'], { values: { wait: '0.5' }, words: ['bob', 'hi'] }],
    [['--wait', 'bob', '5'], { values: { wait: '60' }, words: ['bob', '5'] }],
    [['bob', '--wait', 'hi'], { values: { wait: '60' }, words: ['bob', 'hi'] }],
    [['bob', '--wait', '--', '5'], { values: { wait: '60' }, words: ['bob', '5'] }],
    [['bob', '--wait=7', '5'], { values: { wait: '7' }, words: ['bob', '5'] }],
    [['bob', '--wait=soon'], { values: { wait: 'soon' }, words: ['bob'] }],
    [['bob', '--wait', '--follow', '5'], { values: { wait: '60', follow: true }, words: ['bob', '5'] }],
  ])('reads %j', (argv, expected) => {
    expect(read(TALK, ...argv)).toEqual(expected)
  })
})

describe('a command line with a verb', () => {
  test.each<[string[], Page, unknown]>([
    [['add', 'a', 'b'], BOOK, { verb: 'add', words: ['a', 'b'] }],
    [['--json', 'add', 'a', '--name', 'list'], BOOK, { verb: 'add', values: { json: true, name: 'list' }, words: ['a'] }],
    [['list'], BOOK, { verb: 'list', words: [] }],
    [['list'], EITHER, { verb: 'list', words: [] }],
    [['lists'], EITHER, { words: ['lists'] }],
  ])('reads %j', (argv, page, expected) => {
    expect(read(page, ...argv)).toEqual(expected)
  })
})

describe('an error names the option or the word that is missing, but repeats no value', () => {
  const usage = 'usage: asfaleia talk NAME [TEXT] [--wait [SECONDS]] [--relay ADDRESS …] [--key KEY] [--follow]'
  test.each<[string[], Page, string]>([
    [['bob', '--folow'], TALK, `unknown option --folow; did you mean --follow? | ${usage}`],
    [['bob', '--foo'], TALK, `unknown option --foo; did you mean --follow? | ${usage}`],
    [['bob', '--zQ9=secret'], TALK, `unknown option --zQ9 | ${usage}`],
    [['bob', '-x'], TALK, `unknown option -x | ${usage}`],
    [['bob', `--${'y'.repeat(100)}`], TALK, `unknown option --${'y'.repeat(38)}… | ${usage}`],
    [['bob', '--__proto__'], TALK, `unknown option --__proto__ | ${usage}`],
    [['bob', '--key'], TALK, `--key needs a value: KEY | ${usage}`],
    [['bob', '--key', '--follow'], TALK, '--key needs a value: KEY | a value that begins with a dash is written --key=VALUE'],
    [['bob', '--follow=secret'], TALK, `--follow takes no value | ${usage}`],
    [[], TALK, `NAME is missing | ${usage}`],
    [
      ['bob', 'top', 'secret'],
      TALK,
      'expected NAME [TEXT], but there are 3 words | put quotes around a name, a key or a text that contains spaces',
    ],
    [[], BOOK, 'the word after book is missing: expected add or list | see `asfaleia book --help`'],
    [['ad'], BOOK, 'unknown command book ad; did you mean book add? | expected add or list; see `asfaleia book --help`'],
    [['zQ9'], BOOK, 'unknown command book zQ9 | expected add or list; see `asfaleia book --help`'],
    [['constructor'], BOOK, 'unknown command book constructor | expected add or list; see `asfaleia book --help`'],
    [['add'], BOOK, 'CARD is missing | usage: asfaleia book add CARD … [--name NAME]'],
    [['list', '--name', 'secret'], BOOK, 'asfaleia book list does not take --name | usage: asfaleia book list'],
    [['list', 'secret'], BOOK, 'asfaleia book list takes options only, but there is another word | usage: asfaleia book list'],
  ])('refuses %j', (argv, page, expected) => {
    expect(read(page, ...argv)).toBe(expected)
  })
})

describe('--help', () => {
  test.each<[string[], RegExp]>([
    [['--help'], /^usage: asfaleia book add CARD … \[--name NAME\]\n {7}asfaleia book list\n/],
    [['add', '-h'], /^usage: asfaleia book add CARD … \[--name NAME\]\n\noptions:\n {2}--name NAME {2}their name\n/],
    [['list', '--name', 'x', '--help'], /^usage: asfaleia book list\n/],
  ])('%j prints the text of the command or of the verb alone', (argv, expected) => {
    const io = createTestIo()
    expect(readCommandLine(argv, io, BOOK)).toBeUndefined()
    expect(io.out()).toMatch(expected)
  })

  test('of an unknown verb is an error', () => {
    expect(read(BOOK, 'lst', '--help')).toMatch(/^unknown command book lst; did you mean book list\?/)
  })

  test('as the value of an option is a value', () => {
    expect(read(TALK, 'bob', '--key=--help')).toEqual({ values: { key: '--help' }, words: ['bob'] })
  })
})
