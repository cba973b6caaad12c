/**
 * The table that describes a command. Parsing (arguments.ts), `--help` (help.ts), the completions (completion.ts) and
 * the man page (manual.ts) all read it.
 */

export interface Option {
  /** One letter: `h` for `-h`. */
  readonly short?: string
  /** The placeholder of the value, such as `HOST[:PORT]`. An option without it is a switch. */
  readonly value?: string
  /** The value of the option if none follows. Such an option takes the next word only if that is a number. */
  readonly implied?: string
  /** Describes the option in a phrase. White space is folded. */
  readonly about: string
  /** The value if neither the option nor its variable is set. */
  readonly fallback?: string
  /** The environment variable that is used if the option is not set. */
  readonly variable?: string
  /** The option may be repeated. */
  readonly multiple?: true
}

/** Options by their long names, without the dashes. */
export type Options = Readonly<Record<string, Option>>

/** A command line and its purpose, a phrase. */
export type Example = readonly [about: string, line: string]

/** One way to call the program: a command, or one of its verbs. */
export interface Form {
  /**
   * The placeholders of the words beside the options: `NAME` is required, `[NAME]` is optional, and `NAME …` means
   * one or more and comes last. A form without this list takes no words. A command that has verbs but not this list
   * needs a verb.
   */
  readonly words?: readonly string[]
  /** The lines after `usage:`, without `asfaleia`. By default one line, built from the words and options. */
  readonly usages?: readonly string[]
  readonly options?: Options
  /** Paragraphs, with an empty line between them. White space within a paragraph is folded. */
  readonly text?: string
  readonly examples: readonly Example[]
}

/** A command of a command: `add` in `asfaleia contact add`. */
export interface Verb extends Form {
  readonly summary: string
}

export interface Page extends Form {
  readonly name: string
  readonly verbs?: Readonly<Record<string, Verb>>
  /** Options of the command and of each of its verbs. */
  readonly shared?: Options
  /** Options of another command that this one takes, too. Its help text does not list them again. */
  readonly inherited?: Options
  /** Environment variables that belong to no option, each with a description. */
  readonly variables?: Readonly<Record<string, string>>
}

/** A page as a list of commands shows it. */
export interface Entry {
  readonly summary: string
  readonly page: Page
}

/** An option of every command. */
export const HELP_OPTION = { short: 'h', about: 'show this text' } as const satisfies Option

/** Returns the form of a verb, or of the command itself. */
export function formOf(page: Page, verb: string | undefined): Form {
  return verb === undefined ? page : page.verbs![verb]!
}

/** Returns the options that a help text lists: those of the form, then those of every form. */
export function listedOptionsOf(page: Page, verb: string | undefined): Options {
  return { ...formOf(page, verb).options, ...page.shared, help: HELP_OPTION }
}

/** Returns all options of a form. */
export function optionsOf(page: Page, verb: string | undefined): Options {
  return { ...page.inherited, ...listedOptionsOf(page, verb) }
}

/** Returns whether the command can be called without a verb. */
export function isCallable(page: Page): boolean {
  return page.verbs === undefined || page.words !== undefined
}

/** Returns the words that call a form: `contact add`. */
export function nameOf(page: Page, verb: string | undefined): string {
  return verb === undefined ? page.name : `${page.name} ${verb}`
}

/** The most options that a usage line names. */
const MOST_SHOWN = 5

/** Returns the usage lines of a form, without `asfaleia`. */
export function usagesOf(page: Page, verb?: string): readonly string[] {
  const form = formOf(page, verb)
  if (form.usages !== undefined) return form.usages
  if (verb === undefined && !isCallable(page)) return []
  const rows = Object.entries(form.options ?? {})
  const options =
    rows.length > MOST_SHOWN ? ['[OPTION …]'] : rows.map(([name, row]) => `[${labelOf(name, row)}${row.multiple ? ' …' : ''}]`)
  return [[nameOf(page, verb), ...(form.words ?? []), ...options].join(' ')]
}

/** Returns the usage lines of a command and of its verbs. */
export function allUsagesOf(page: Page): readonly string[] {
  return [...usagesOf(page), ...Object.keys(page.verbs ?? {}).flatMap((verb) => usagesOf(page, verb))]
}

/** Returns an option as a help text names it: `--wait [SECONDS]`. */
export function labelOf(name: string, { value, implied }: Option): string {
  if (value === undefined) return `--${name}`
  return `--${name} ${implied === undefined ? value : `[${value}]`}`
}

/** Returns the description of an option, with its default. */
export function describeOption({ about, fallback, variable }: Option): string {
  const defaults = [...(variable === undefined ? [] : [`$${variable}`]), ...(fallback === undefined ? [] : [fallback])]
  return `${fold(about)}${defaults.length === 0 ? '' : ` (default: ${defaults.join(', or ')})`}`
}

/** Joins the lines of a text to one line. */
export function fold(text: string): string {
  return text.trim().replaceAll(/\s+/g, ' ')
}

/** Returns the paragraphs of a text, each as one line. */
export function paragraphsOf({ text = '' }: Form): readonly string[] {
  return text
    .split(/\n\s*\n/)
    .map(fold)
    .filter((paragraph) => paragraph !== '')
}
