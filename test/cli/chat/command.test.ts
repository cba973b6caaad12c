/** The commands of the chat: how a line is read, and what Tab makes of it. The screen with them is in model.test.ts. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { complete, parseLine, words } from '../../../src/cli/chat/command.ts'
import { listPaths } from '../../../src/cli/chat/path.ts'

const asText = (text: string): unknown => ({ kind: 'text', text })
const asCommand = (name: string, rest: string): unknown => ({ kind: 'command', name, rest })

describe('an entered line', () => {
  test.each([
    ['hi', asText('hi')],
    [' /help', asText(' /help')],
    ['//help', asText('/help')],
    ['///', asText('//')],
    ['/help', asCommand('help', '')],
    ['/to  Bob the Second  ', asCommand('to', 'Bob the Second')],
    ['/reply\tyes', asCommand('reply', 'yes')],
    ['/', { kind: 'unknown', name: '' }],
    ['/helpme', { kind: 'unknown', name: 'helpme' }],
    ['/HELP', { kind: 'unknown', name: 'HELP' }],
    ['/constructor', { kind: 'unknown', name: 'constructor' }],
    ['/reply one\ntwo', asText('/reply one\ntwo')],
    ['//one\ntwo', asText('//one\ntwo')],
    ['/add asfaleia:card/1?\nname=x', asCommand('add', 'asfaleia:card/1?\nname=x')],
    ['/join\nasfaleia:invite/1', asCommand('join', 'asfaleia:invite/1')],
    ['/addition\nof two', asText('/addition\nof two')],
  ])('%j is read as %j', (line, parsed) => {
    expect(parseLine(line)).toEqual(parsed)
  })
})

test.each([
  ['', []],
  ['  ', []],
  ['new Friends bob', ['new', 'Friends', 'bob']],
  ['new "Old Friends"  "" bob', ['new', 'Old Friends', '', 'bob']],
  ['add "bob', ['add', '"bob']],
])('%j is split into the words %j', (rest, expected) => {
  expect(words(rest)).toEqual(expected)
})

describe('Tab', () => {
  const NAMES = ['Bob', 'Bobby', 'bea', 'Old Friends', 'Ann A', 'Ann B']

  test.each<[string, string, readonly string[]]>([
    ['/v', '/verify ', []],
    ['/un', '/unblock ', []],
    ['/i', '/ignore ', []],
    ['/e', '/e', ['edit', 'expires']],
    ['/zz', '/zz', []],
    ['/to o', '/to Old Friends ', []],
    ['/to OLD FR', '/to Old Friends ', []],
    ['/to bo', '/to Bob', ['Bob', 'Bobby']],
    ['/to Bob', '/to Bob', ['Bob', 'Bobby']],
    ['/to bobb', '/to Bobby ', []],
    ['/to b', '/to b', ['Bob', 'Bobby', 'bea']],
    ['/to ', '/to ', NAMES],
    ['/to zoe', '/to zoe', []],
    ['/group new tea be', '/group new tea bea ', []],
    ['/group add  bo', '/group add  Bob', ['Bob', 'Bobby']],
    ['/group add ol', '/group add "Old Friends" ', []],
    ['/group add "old f', '/group add "Old Friends" ', []],
    ['/group add "be', '/group add bea ', []],
    ['/group add "Bo', '/group add "Bob', ['Bob', 'Bobby']],
    ['/group add a', '/group add "Ann ', ['Ann A', 'Ann B']],
    ['/group new "My Tea" o', '/group new "My Tea" "Old Friends" ', []],
    ['/group new "My Tea" "zo', '/group new "My Tea" "zo', []],
    ['/receipts of', '/receipts off ', []],
    ['/receipts x', '/receipts x', []],
    ['/help b', '/help b', []],
  ])('makes %j %j, and offers %j', (line, completed, candidates) => {
    expect(complete(line, NAMES)).toEqual({ line: completed, candidates })
  })

  test.each<[string, readonly string[], string, readonly string[]]>([
    ['/file no', ['notes.txt'], '/file notes.txt ', []],
    ['/file no', ['notes/'], '/file notes/', []],
    ['/file my n', ['my notes'], '/file my notes ', []],
    ['/file n', ['nab', 'nac', 'other'], '/file na', ['nab', 'nac']],
    // A disk may tell names apart that differ in case only.
    ['/file N', ['nab'], '/file N', []],
  ])('makes %j with the paths %j %j, and offers %j', (line, paths, completed, candidates) => {
    expect(complete(line, [], paths)).toEqual({ line: completed, candidates })
  })
})

describe('the paths that Tab offers', () => {
  let root: string
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'asfaleia-paths-'))
    mkdirSync(join(root, 'folder'))
    for (const name of ['b', 'a', '.hidden', 'a\u{1b}[2J', 'a\nb', 'folder/inner']) writeFileSync(join(root, name), '')
  })
  afterAll(() => rmSync(root, { recursive: true }))

  test('are in order, a folder ends with a slash, and no name needs escaping', async () => {
    expect(await listPaths(`${root}/`)).toEqual(['a', 'b', 'folder/'].map((name) => `${root}/${name}`))
    expect(await listPaths(`${root}/f`)).toEqual([`${root}/folder/`])
    expect(await listPaths(`${root}/folder/`)).toEqual([`${root}/folder/inner`])
  })

  test('are hidden ones only after a dot', async () => {
    expect(await listPaths(`${root}/.`)).toEqual([`${root}/.hidden`])
    expect(await listPaths(`${root}/.h`)).toEqual([`${root}/.hidden`])
  })

  test('are none in a folder that does not exist, or that is a file', async () => {
    expect(await listPaths(`${root}/none/x`)).toEqual([])
    expect(await listPaths(`${root}/a/`)).toEqual([])
  })

  test('begin as the user typed them: in the present folder, or at home', async () => {
    const here = await listPaths('')
    expect(here).toContain('package.json')
    expect(await listPaths('packag')).toEqual(here.filter((path) => path.startsWith('packag')))
    expect(await listPaths('./test/cli/chat/command.')).toEqual(['./test/cli/chat/command.test.ts'])
    const home = await listPaths(`${homedir()}/`)
    expect(await listPaths('~/')).toEqual(home.map((path) => path.replace(homedir(), '~')))
  })

  test('are 100 at most, the first ones', async () => {
    const many = join(root, 'folder')
    for (let n = 0; n < 101; n++) writeFileSync(join(many, `n${String(n).padStart(3, '0')}`), '')
    const found = await listPaths(`${many}/n`)
    expect(found).toHaveLength(100)
    expect(found.at(-1)).toBe(`${many}/n099`)
  })
})
