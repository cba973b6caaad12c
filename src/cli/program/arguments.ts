/**
 * Reads the command line of a command as its page describes it. An error names the option or the placeholder that is
 * wrong. It repeats an unknown command, but no other word and no value, because those could be secrets.
 */
import { parseArgs } from 'node:util'
import { didYouMean } from '../../nearest.ts'
import { UsageError } from './error.ts'
import { buildHelp } from './help.ts'
import type { Io } from './io.ts'
import {
  allUsagesOf,
  formOf,
  HELP_OPTION,
  isCallable,
  nameOf,
  type Option,
  type Options,
  optionsOf,
  type Page,
  usagesOf,
  type Verb,
} from './page.ts'

type ValueOf<O extends Option> = O extends { readonly value: string } ? string : true

type ValuesOf<O> = {
  readonly [N in keyof O]?: O[N] extends Option
    ? O[N] extends { readonly multiple: true }
      ? readonly ValueOf<O[N]>[]
      : ValueOf<O[N]>
    : never
}

/** Turns `['NAME', '[TEXT]']` into `[string, string?]`. */
type WordsOf<W> = W extends readonly [infer First extends string, ...infer Rest]
  ? First extends `${string} …`
    ? [string, ...string[]]
    : First extends `[${string}]`
      ? [string?, ...WordsOf<Rest>]
      : [string, ...WordsOf<Rest>]
  : []

type Shared<P> = P extends { readonly shared: infer S } ? S : unknown
type Own<F> = F extends { readonly options: infer O } ? O : unknown
type Words<F> = F extends { readonly words: infer W } ? WordsOf<W> : []

interface GivenOf<V extends string | undefined, P, F> {
  /** The verb, or undefined for the command itself. */
  readonly verb: V
  readonly values: ValuesOf<Own<F> & Shared<P>>
  readonly words: Readonly<Words<F>>
  /** The hint of an error in the command line. */
  readonly hint: string
}

/** The content of a command line: a union by verb, if the command has verbs. */
export type Given<P extends Page> = P extends { readonly verbs: infer V }
  ? | { [N in keyof V & string]: GivenOf<N, P, V[N]> }[keyof V & string]
    | (P extends { readonly words: readonly string[] } ? GivenOf<undefined, P, P> : never)
  : GivenOf<undefined, P, P>

/**
 * Reads the words after the command's name. Prints the help text if `--help` is among them.
 * @returns undefined if the help text was printed, so nothing is left to do
 * @throws {UsageError}
 */
export function readCommandLine<const P extends Page>(argv: readonly string[], io: Pick<Io, 'stdout'>, page: P): Given<P> | undefined {
  const items = readItems(argv, allOptions(page))
  const isHelp = items.some((item) => item.kind === 'option' && item.name === 'help')
  const words = items.filter((item) => item.kind === 'word').map(({ text }) => text)
  const [first] = words
  const isVerb = first !== undefined && Object.hasOwn(page.verbs ?? {}, first)
  const verb = isVerb ? first : undefined
  if (verb === undefined && !isCallable(page) && !(isHelp && first === undefined)) throw refuseVerb(page, first)
  if (isHelp) {
    io.stdout.write(buildHelp(page, verb))
    return undefined
  }
  const values = readValues(page, verb, items)
  const rest = words.slice(isVerb ? 1 : 0)
  checkWords(page, verb, rest)
  return { verb, values, words: rest, hint: hintOf(page, verb) } as unknown as Given<P>
}

/** Returns the usage of a form if it is one line, or else the command that shows it. */
export function hintOf(page: Page, verb?: string): string {
  const [usage, ...more] = verb === undefined ? allUsagesOf(page) : usagesOf(page, verb)
  return usage !== undefined && more.length === 0 ? `usage: asfaleia ${usage}` : `see \`asfaleia ${nameOf(page, verb)} --help\``
}

/** Makes the error for an unknown command. @param prefix the words before it, such as `contact ` */
export function refuseCommand(word: string, prefix: string, known: readonly string[], hint: string): UsageError {
  return new UsageError(`unknown command ${prefix}${shorten(word)}${didYouMean(word, known, (name) => prefix + name)}`, { hint })
}

/** Makes the error for an unknown option. @param name as the user typed it, with dashes but without the value */
export function refuseOption(name: string, known: readonly string[], hint: string): UsageError {
  const question = didYouMean(name.replace(/^-+/, ''), known, (each) => `--${each}`)
  return new UsageError(`unknown option ${shorten(name)}${question}`, { hint })
}

function refuseVerb(page: Page, word: string | undefined): UsageError {
  const known = Object.keys(page.verbs ?? {})
  const choice = `expected ${known.slice(0, -1).join(', ')} or ${known.at(-1)!}`
  if (word === undefined) return new UsageError(`the word after ${page.name} is missing: ${choice}`, { hint: hintOf(page) })
  return refuseCommand(word, `${page.name} `, known, `${choice}; see \`asfaleia ${page.name} --help\``)
}

function shorten(word: string): string {
  return word.length > 40 ? `${word.slice(0, 40)}…` : word
}

type Item =
  | { readonly kind: 'word'; readonly text: string }
  | {
      readonly kind: 'option'
      readonly name: string
      readonly raw: string
      readonly value: string | undefined
      readonly isInline: boolean
      readonly index: number
    }

const NUMBER = /^\d+(?:\.\d+)?$/

/** Splits a command line into words and options with their values, in order. */
function readItems(argv: readonly string[], options: Options): readonly Item[] {
  const known = Object.fromEntries(
    Object.entries(options).map(([name, { short, value, implied }]) => {
      // node:util has no optional values. It reads such an option as a switch.
      const type = value === undefined || implied !== undefined ? ('boolean' as const) : ('string' as const)
      return [name, { type, ...(short !== undefined && { short }) }]
    }),
  )
  const { tokens } = parseArgs({ args: [...argv], options: known, strict: false, allowPositionals: true, tokens: true })
  const items: Item[] = []
  for (const [at, token] of tokens.entries()) {
    if (token.kind === 'option-terminator') continue
    const before = tokens[at - 1]
    const taken = items.at(-1)
    if (token.kind === 'option') {
      items.push({
        kind: 'option',
        name: token.name,
        raw: token.rawName,
        value: token.value,
        isInline: token.inlineValue === true,
        index: token.index,
      })
    } else if (
      before?.kind === 'option' &&
      taken?.kind === 'option' &&
      taken.value === undefined &&
      options[taken.name]?.implied !== undefined &&
      NUMBER.test(token.value)
    ) {
      items[items.length - 1] = { ...taken, value: token.value }
    } else items.push({ kind: 'word', text: token.value })
  }
  return items
}

/** Returns the options of all forms, because the words cannot be read before the verb is known. */
function allOptions(page: Page): Options {
  const verbs: readonly Verb[] = Object.values(page.verbs ?? {})
  return Object.assign({}, ...verbs.map(({ options }) => options), page.options, page.shared, page.inherited, {
    help: HELP_OPTION,
  }) as Options
}

function readValues(page: Page, verb: string | undefined, items: readonly Item[]): object {
  const options = optionsOf(page, verb)
  const hint = hintOf(page, verb)
  const values: Record<string, true | string | (true | string)[]> = {}
  for (const item of items) {
    if (item.kind === 'word') continue
    const { name, raw, isInline } = item
    if (!Object.hasOwn(options, name)) {
      if (Object.hasOwn(allOptions(page), name)) throw new UsageError(`asfaleia ${nameOf(page, verb)} does not take --${name}`, { hint })
      throw refuseOption(raw, Object.keys(options), hint)
    }
    const { value: placeholder, implied, multiple } = options[name]!
    if (placeholder === undefined && item.value !== undefined) throw new UsageError(`--${name} takes no value`, { hint })
    const value = placeholder === undefined ? true : (item.value ?? implied)
    if (value === undefined) throw new UsageError(`--${name} needs a value: ${placeholder}`, { hint })
    if (typeof value === 'string' && !isInline && /^-./.test(value)) {
      throw new UsageError(`--${name} needs a value: ${placeholder}`, {
        hint: `a value that begins with a dash is written --${name}=VALUE`,
      })
    }
    if (multiple === true) values[name] = [...((values[name] as (true | string)[] | undefined) ?? []), value]
    else values[name] = value
  }
  return values
}

function checkWords(page: Page, verb: string | undefined, words: readonly string[]): void {
  const expected = formOf(page, verb).words ?? []
  const hint = hintOf(page, verb)
  const missing = expected.slice(words.length).find((word) => !word.startsWith('['))
  if (missing !== undefined) throw new UsageError(`${missing.replace(/ …$/, '')} is missing`, { hint })
  if (words.length <= expected.length || expected.at(-1)?.endsWith(' …') === true) return
  if (expected.length === 0) throw new UsageError(`asfaleia ${nameOf(page, verb)} takes options only, but there is another word`, { hint })
  throw new UsageError(`expected ${expected.join(' ')}, but there are ${words.length} words`, {
    hint: 'put quotes around a name, a key or a text that contains spaces',
  })
}

/**
 * Prints the help text if `--help` is given, for a command that reads its options by itself.
 * @returns whether it printed the text
 */
export function printHelp(argv: readonly string[], io: Pick<Io, 'stdout'>, page: Page): boolean {
  const isHelp = readItems(argv, allOptions(page)).some((item) => item.kind === 'option' && item.name === 'help')
  if (isHelp) io.stdout.write(buildHelp(page))
  return isHelp
}

/**
 * Removes a switch from the command line, for a command that reads its other options by itself.
 * @returns whether the switch was there, and the rest of the command line
 */
export function takeSwitch(argv: readonly string[], page: Page, name: string): [isGiven: boolean, rest: string[]] {
  const items = readItems(argv, allOptions(page)).filter((item) => item.kind === 'option')
  const found = items.filter((item) => item.name === name && item.value === undefined).map(({ index }) => index)
  return [found.length > 0, argv.filter((_word, index) => !found.includes(index))]
}
