/** What a command says of itself by `--help`, in its parts: usage, text, and options in the form `  -h, --help  what`. */

export interface Option {
  /** `--relay` */
  readonly name: string
  /** `-h` */
  readonly short?: string
  /** `HOST[:PORT]`; an option without one is a switch. */
  readonly value?: string
  readonly about: string
}

export interface Page {
  readonly name: string
  readonly about: string
  /** Each way to call it, without `asfaleia`. */
  readonly usages: readonly string[]
  /** Words that stand first: `add`, `list`. */
  readonly verbs: readonly string[]
  readonly options: readonly Option[]
  /** Paragraphs that are no options. */
  readonly text: readonly string[]
}

const OPTION = /^ {1,4}(?:(-[a-zA-Z]), )?(--[a-z][a-z-]*)(?:\[?[ =]([A-Z][^ ]*(?: [A-Z…|]+)?)\]?)?(?: {2,}(.*))?$/

export function parseHelp(name: string, about: string, help: string): Page {
  const lines = help.split('\n')
  const start = lines.findIndex((line) => line === '')
  const usages = lines
    .slice(0, start)
    .map((line) => line.replace(/^usage: /, '').trim())
    .flatMap((line) => line.split(/,? or |, (?=asfaleia )/))
    .map((line) => line.replace(/^asfaleia /, '').trim())
    .filter((line) => line !== '')
  const options: Option[] = []
  const text: string[][] = [[]]
  for (const line of lines.slice(start)) {
    const [all, short, long, value, what = ''] = OPTION.exec(line) ?? []
    const last = options.at(-1)
    if (all !== undefined && long !== undefined) {
      options.push({ name: long, about: what.trim(), ...(short !== undefined && { short }), ...(value !== undefined && { value }) })
      text.push([])
    } else if (last !== undefined && /^ {8,}\S/.test(line))
      options[options.length - 1] = { ...last, about: `${last.about} ${line.trim()}`.trim() }
    else if (line.trim() === '') text.push([])
    else text.at(-1)!.push(line)
  }
  const verbs = [...new Set(usages.flatMap((usage) => /^\S+ ([a-z]+(?:\|[a-z]+)*)(?: |$)/.exec(usage)?.[1]?.split('|') ?? []))]
  return { name, about, usages, verbs, options, text: text.filter((block) => block.length > 0).map((block) => block.join('\n')) }
}
