/** How a command line is read by a page, and what an error says. */
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

/** Takes a file to show, or a verb. */
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

describe('words and options', () => {
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
  ])('%j', (argv, expected) => {
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
  ])('%j', (argv, expected) => {
    expect(read(TALK, ...argv)).toEqual(expected)
  })
})

describe('verbs', () => {
  test.each<[Page, string[], unknown]>([
    [BOOK, ['add', 'a', 'b'], { verb: 'add', words: ['a', 'b'] }],
    [BOOK, ['--json', 'add', 'a', '--name', 'list'], { verb: 'add', values: { json: true, name: 'list' }, words: ['a'] }],
    [BOOK, ['list'], { verb: 'list', words: [] }],
    [EITHER, ['list'], { verb: 'list', words: [] }],
    [EITHER, ['lists'], { words: ['lists'] }],
  ])('%#', (page, argv, expected) => {
    expect(read(page, ...argv)).toEqual(expected)
  })
})

describe('an error names the option or the word that is missing, but repeats no value', () => {
  const usage = 'usage: asfaleia talk NAME [TEXT] [--wait [SECONDS]] [--relay ADDRESS …] [--key KEY] [--follow]'
  test.each<[Page, string[], string]>([
    [TALK, ['bob', '--folow'], `unknown option --folow; did you mean --follow? | ${usage}`],
    [TALK, ['bob', '--foo'], `unknown option --foo; did you mean --follow? | ${usage}`],
    [TALK, ['bob', '--zQ9=secret'], `unknown option --zQ9 | ${usage}`],
    [TALK, ['bob', '-x'], `unknown option -x | ${usage}`],
    [TALK, ['bob', `--${'y'.repeat(100)}`], `unknown option --${'y'.repeat(38)}… | ${usage}`],
    [TALK, ['bob', '--__proto__'], `unknown option --__proto__ | ${usage}`],
    [TALK, ['bob', '--key'], `--key needs a value: KEY | ${usage}`],
    [TALK, ['bob', '--key', '--follow'], '--key needs a value: KEY | a value that begins with a dash is written --key=VALUE'],
    [TALK, ['bob', '--follow=secret'], `--follow takes no value | ${usage}`],
    [TALK, [], `NAME is missing | ${usage}`],
    [
      TALK,
      ['bob', 'top', 'secret'],
      'expected NAME [TEXT], but there are 3 words | put quotes around a name, a key or a text that contains spaces',
    ],
    [BOOK, [], 'the word after book is missing: expected add or list | see `asfaleia book --help`'],
    [BOOK, ['ad'], 'unknown command book ad; did you mean book add? | expected add or list; see `asfaleia book --help`'],
    [BOOK, ['zQ9'], 'unknown command book zQ9 | expected add or list; see `asfaleia book --help`'],
    [BOOK, ['constructor'], 'unknown command book constructor | expected add or list; see `asfaleia book --help`'],
    [BOOK, ['add'], 'CARD is missing | usage: asfaleia book add CARD … [--name NAME]'],
    [BOOK, ['list', '--name', 'secret'], 'asfaleia book list does not take --name | usage: asfaleia book list'],
    [BOOK, ['list', 'secret'], 'asfaleia book list takes options only, but there is another word | usage: asfaleia book list'],
  ])('%#', (page, argv, expected) => {
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
