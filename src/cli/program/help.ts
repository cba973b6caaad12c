/** Builds the text of `--help` from the page of a command. */
import {
  allUsagesOf,
  describeOption,
  type Example,
  fold,
  formOf,
  labelOf,
  listedOptionsOf,
  nameOf,
  type Page,
  paragraphsOf,
  usagesOf,
} from './page.ts'

/** Columns of a line. */
const WIDTH = 80
/** The last column at which descriptions may begin. A longer label gets a line of its own. */
const MOST_INDENT = 26

/** Builds the help text of a command, or of one of its verbs. */
export function buildHelp(page: Page, verb?: string): string {
  const form = formOf(page, verb)
  const verbs = verb === undefined ? Object.entries(page.verbs ?? {}) : []
  const options = Object.entries(listedOptionsOf(page, verb)).map(([name, row]): Row => [
    `${row.short === undefined ? '' : `-${row.short}, `}${labelOf(name, row)}`,
    describeOption(row),
  ])
  const variables = Object.entries(verb === undefined ? (page.variables ?? {}) : {})
  return joinBlocks([
    formatUsages(verb === undefined ? allUsagesOf(page) : usagesOf(page, verb)),
    ...paragraphsOf(form).map((paragraph) => wrap(paragraph, '')),
    section('commands', [
      ...formatRows(verbs.map(([name, { summary }]): Row => [name, summary])),
      ...(verbs.length > 0
        ? ['', ...wrap(`\`asfaleia ${nameOf(page, verb)} COMMAND --help\` explains one of them and its options.`, '  ')]
        : []),
    ]),
    section('options', formatRows(options)),
    section('environment', formatRows(variables.map(([name, about]): Row => [name, fold(about)]))),
    formatExamples(form.examples),
  ])
}

/** Joins blocks of lines, with an empty line between two blocks. */
export function joinBlocks(blocks: readonly (readonly string[])[]): string {
  const filled = blocks.filter((block) => block.length > 0)
  return `${filled.map((block) => block.join('\n')).join('\n\n')}\n`
}

/** Puts a heading before a block, unless the block is empty. */
export function section(heading: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`${heading}:`, ...lines]
}

export function formatExamples(examples: readonly Example[]): readonly string[] {
  return section(
    'examples',
    examples.flatMap(([about, line]) => [...wrap(`${about}:`, '  '), `    ${line}`]),
  )
}

function formatUsages(usages: readonly string[]): readonly string[] {
  return usages.flatMap((usage, index) => {
    const [first = '', ...rest] = wrap(`asfaleia ${usage}`, '           ')
    return [`${index === 0 ? 'usage: ' : '       '}${first.trimStart()}`, ...rest]
  })
}

export type Row = readonly [label: string, about: string]

/** Formats two columns: labels and descriptions. */
export function formatRows(rows: readonly Row[]): readonly string[] {
  const longest = Math.max(...rows.map(([label]) => label.length).filter((length) => length + 4 <= MOST_INDENT), 0)
  const indent = longest + 4
  return rows.flatMap(([label, about]) => {
    const lines = wrap(about, ' '.repeat(indent))
    const fits = label.length + 4 <= indent
    return fits ? [`  ${label}`.padEnd(indent) + lines[0]!.slice(indent), ...lines.slice(1)] : [`  ${label}`, ...lines]
  })
}

/** Breaks a text at spaces into lines of at most 80 columns, but not within backticks. */
export function wrap(text: string, indent: string): readonly string[] {
  const lines: string[] = []
  let line = indent
  for (const word of text.match(/(?:`[^`]*`|\S)+/g) ?? []) {
    if (line !== indent && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = indent
    }
    line += line === indent ? word : ` ${word}`
  }
  return [...lines, line]
}
