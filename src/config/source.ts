/** Reads the sources of settings: flags, environment, file. The values stay text. An unknown setting is a problem. */
import { parseArgs } from 'node:util'
import { didYouMean } from '../nearest.ts'
import type { Problem } from './problem.ts'
import { isKey, OTHER_VARIABLES, type Setting, type SettingKey, SETTING_KEYS, SETTINGS, variableOf } from './setting.ts'

/** One source's texts for a setting. */
export interface Given {
  readonly texts: string[]
  readonly where: string
}

export type Source = Map<SettingKey, Given>

export function readFlags(argv: readonly string[], problems: Problem[]): Source {
  const source: Source = new Map()
  const options = Object.fromEntries(SETTING_KEYS.map((key) => [key, { type: 'string', multiple: true } as const]))
  const { tokens } = parseArgs({ args: [...argv], options, strict: false, allowPositionals: true, tokens: true })
  const hint = 'see `asfaleia relay --help`'
  // A word after an unknown option is most likely its value, and not a second problem.
  let skipped = -1
  for (const token of tokens) {
    switch (token.kind) {
      case 'option': {
        if (!isKey(token.name)) {
          const where = /^--?[a-z][a-z0-9-]{0,30}$/.test(token.rawName) ? token.rawName : `argument ${token.index + 1}`
          const problem = `unknown option${didYouMean(token.name, SETTING_KEYS, (name) => `--${name}`)}`
          problems.push({ key: 'argv', where, problem, hint })
          if (token.value === undefined) skipped = token.index + 1
        } else if (token.value === undefined || (token.value.startsWith('-') && token.inlineValue === false)) {
          problems.push({ key: token.name, where: token.rawName, problem: 'needs a value', hint })
        } else {
          add(source, token.name, token.value, `--${token.name}`, problems)
        }
        break
      }
      case 'positional':
        if (token.index === skipped) break
        problems.push({ key: 'argv', where: `argument ${token.index + 1}`, problem: 'is not an option', hint })
        break
      case 'option-terminator':
        break
    }
  }
  return source
}

export function readEnvironment(env: Readonly<Record<string, string | undefined>>, problems: Problem[]): Source {
  const source: Source = new Map()
  const keys = new Map(SETTING_KEYS.map((key) => [variableOf(key), key]))
  for (const [variable, value] of Object.entries(env)) {
    if (value === undefined || !variable.startsWith('ASFALEIA_') || OTHER_VARIABLES.includes(variable)) continue
    const key = keys.get(variable)
    if (key !== undefined) {
      add(source, key, value, variable, problems)
      continue
    }
    const where = /^[A-Z0-9_]{1,40}$/.test(variable) ? variable : 'ASFALEIA_…'
    const problem = `unknown setting${didYouMean(variable, [...keys.keys(), ...OTHER_VARIABLES], (name) => name)}`
    problems.push({ key: 'environment', where, problem, hint: 'see `asfaleia relay --help`, or unset the variable' })
  }
  return source
}

/**
 * Reads lines of `key = value`. The format is not JSON, so that a value is spelled the same in all three sources, and
 * so that the file can have comments.
 */
export function readConfigFile(named: Given | undefined, readFile: (path: string) => string, problems: Problem[]): Source {
  const source: Source = new Map()
  const path = named?.texts[0]
  if (named === undefined || path === undefined || path === '') return source
  let text: string
  try {
    text = readFile(path)
  } catch (error) {
    const problem = `the file cannot be read (${codeOf(error)})`
    problems.push({ key: 'config', where: named.where, problem, hint: 'check that it exists and that this user may read it' })
    return source
  }
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const where = `line ${index + 1} of the config file`
    const equals = line.indexOf('=')
    const key = line.slice(0, Math.max(equals, 0)).trim()
    if (equals === -1) {
      problems.push({ key: 'config', where, problem: 'is not `key = value`', hint: '`#` begins a comment line' })
    } else if (key === 'config' || !isKey(key)) {
      problems.push({
        key: 'config',
        where,
        problem: `unknown key${didYouMean(key, SETTING_KEYS, (name) => name)}`,
        hint: 'the keys are the options without `--`; see `asfaleia relay --help`',
      })
    } else {
      add(source, key, line.slice(equals + 1).trim(), where, problems)
    }
  }
  return source
}

function add(source: Source, key: SettingKey, text: string, where: string, problems: Problem[]): void {
  const there = source.get(key)
  const row: Setting = SETTINGS[key]
  if (there === undefined) source.set(key, { texts: [text], where })
  else if (row.list) there.texts.push(text)
  else problems.push({ key, where, problem: 'is set twice', hint: 'keep one of them' })
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^E[A-Z]{2,15}$/.test(code) ? code : 'unknown reason'
}
