/** Each claim in docs/threat-model.md has a footnote, and the tests that the footnotes name exist. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..')
const text = readFileSync(join(ROOT, 'docs/threat-model.md'), 'utf8')
const [claims = '', tests = ''] = text.split('\n## Tests\n')
/** By footnote: the files and titles of tests. */
const notes = [...tests.matchAll(/^\[\^([a-z-]+)\]: (.+)$/gm)].map(([, name, list]) => ({ name: name!, named: readNames(list!) }))

function readNames(list: string): { readonly file: string; readonly titles: readonly string[] }[] {
  return list.split(/(?=`test\/)/).map((part) => {
    const [, file = '', titles = ''] = /^`([^`]+)`: (.+)$/.exec(part.trim()) ?? []
    return { file, titles: [...titles.matchAll(/“([^”]+)”/g)].map(([, title]) => title!) }
  })
}

/** Whether a call of the source has the title as its first argument, in any quotes. */
function hasTitle(source: string, title: string): boolean {
  return ["'", '"', '`'].some((quote) => {
    const literal = quote + title.replaceAll(quote, `\\${quote}`) + quote
    for (let at = source.indexOf(literal); at !== -1; at = source.indexOf(literal, at + 1)) {
      if (/\(\s*$/.test(source.slice(0, at)) && source[at + literal.length] === ',') return true
    }
    return false
  })
}

test('each statement of what an adversary cannot do has a footnote', () => {
  const items = claims.split(/\n(?=- |#|\n)/).filter((item) => item.startsWith('- **Cannot'))
  expect(items.length).toBeGreaterThan(30)
  expect(items.filter((item) => !/\[\^[a-z-]+\]/.test(item))).toEqual([])
})

test('each footnote is used and defined once', () => {
  const used = [...new Set(Array.from(claims.matchAll(/\[\^([a-z-]+)\]/g), ([, name]) => name!))]
  expect(notes.map(({ name }) => name)).toEqual(used)
})

test.each(notes)('the tests of $name exist', ({ named }) => {
  expect(named.length).toBeGreaterThan(0)
  const missing = named.flatMap(({ file, titles }) => {
    const path = join(ROOT, file)
    if (!existsSync(path) || titles.length === 0) return [file]
    const source = readFileSync(path, 'utf8')
    return titles.filter((title) => !hasTitle(source, title)).map((title) => `${file}: ${title}`)
  })
  expect(missing).toEqual([])
})

test('a title that no test has is found out', () => {
  const source = "test('a title', () => {})\n// 'a comment', and it.each([1])(\n  \"it's %s\", () => {})"
  expect(hasTitle(source, 'a title')).toBe(true)
  expect(hasTitle(source, "it's %s")).toBe(true)
  expect(hasTitle(source, 'a comment')).toBe(false)
  expect(hasTitle(source, 'title')).toBe(false)
})
