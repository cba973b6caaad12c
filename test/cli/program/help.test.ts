/** The pages of all commands, and the help texts from them. */
import { describe, expect, test } from 'vitest'
import { COMMANDS, readPages, runCommand } from '../../../src/cli/command.ts'
import { readCommandLine } from '../../../src/cli/program/arguments.ts'
import { buildHelp, formatRows } from '../../../src/cli/program/help.ts'
import { formOf, type Option, optionsOf, type Page, usagesOf } from '../../../src/cli/program/page.ts'
import { createTestIo } from '../../support/terminal.ts'

const entries = await readPages()
const forms = entries.flatMap(({ page }) =>
  [undefined, ...Object.keys(page.verbs ?? {})].map((verb) => ({
    page,
    verb,
    name: verb === undefined ? page.name : `${page.name} ${verb}`,
  })),
)
const longest = (text: string): number => Math.max(...text.split('\n').map(({ length }) => length))

/** The words of a command line, without quotes. */
function split(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!)
}

/** The calls of asfaleia in a line of a shell. */
function callsIn(line: string): string[][] {
  return line
    .split(/ [|<>] |<\(|\)$/)
    .map((part) => split(part))
    .filter(([program]) => program === 'asfaleia')
    .map(([, ...words]) => words)
}

describe('the list of commands', () => {
  test('fits 80 columns, and has the commands in the order in which a person meets them', async () => {
    const io = createTestIo()
    expect(await runCommand(['--help'], io)).toBe(0)
    expect(longest(io.out())).toBeLessThanOrEqual(80)
    const names = [...io.out().matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name)
    expect(names).toEqual(Object.keys(COMMANDS))
    expect(names.slice(0, 4)).toEqual(['me', 'contact', 'send', 'get'])
    expect(names.at(-1)).toBe('completion')
  })

  test('has the names of the pages', () => {
    expect(entries.map(({ page }) => page.name)).toEqual(Object.keys(COMMANDS))
  })
})

describe.each(forms)('the help text of $name', ({ page, verb }) => {
  const text = buildHelp(page, verb)

  test('fits 80 columns', () => {
    expect(longest(text)).toBeLessThanOrEqual(80)
  })

  test('has a usage, and an example that the command line accepts', () => {
    expect(text).toMatch(new RegExp(`^usage: asfaleia ${page.name} ?`))
    const { examples } = formOf(page, verb)
    expect(examples.length).toBeGreaterThan(0)
    for (const [, line] of examples) {
      const calls = callsIn(line)
      expect(calls.length).toBeGreaterThan(0)
      for (const [name = '', ...words] of calls) {
        const called = entries.find((entry) => entry.page.name === name)?.page
        expect(called).toBeDefined()
        readCommandLine(words, createTestIo(), called as Page)
      }
    }
  })
})

test('a usage line names up to five options', () => {
  const withOptions = (count: number): Page => ({
    name: 'do',
    words: ['NAME'],
    options: Object.fromEntries(
      Array.from({ length: count }, (_, n) => [`option-${n}`, { about: 'x', ...(n === 0 && { multiple: true }) }]),
    ),
    examples: [],
  })
  expect(usagesOf(withOptions(5))).toEqual(['do NAME [--option-0 …] [--option-1] [--option-2] [--option-3] [--option-4]'])
  expect(usagesOf(withOptions(6))).toEqual(['do NAME [OPTION …]'])
})

test('an option is of one kind in all verbs of a command: how it is read does not depend on the verb', () => {
  for (const { page } of entries) {
    const kinds = new Map<string, string>()
    for (const verb of [undefined, ...Object.keys(page.verbs ?? {})]) {
      for (const [name, { value, implied }] of Object.entries<Option>(optionsOf(page, verb))) {
        const kind = `${value !== undefined} ${implied !== undefined}`
        expect(kinds.get(name) ?? kind).toBe(kind)
        kinds.set(name, kind)
      }
    }
  }
})

test('two columns are as narrow as their labels permit, and a long label has a line of its own', () => {
  const [fits, long] = ['f'.repeat(22), 'l'.repeat(23)]
  const rows = formatRows([
    ['one', 'first'],
    [fits, 'second'],
    [long, 'third'],
  ])
  const indent = ' '.repeat(26)
  expect(rows).toEqual([`  one${indent.slice(5)}first`, `  ${fits}  second`, `  ${long}`, `${indent}third`])
  expect(formatRows([['a', 'b']])).toEqual(['  a  b'])
})
