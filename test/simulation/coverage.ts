/**
 * `npm run simulate:coverage -- --cpu --minutes 6`: runs the simulation (main.ts) with the same options, and says how much of
 * the sources it reached, by V8's coverage. A line counts if a statement or a returned expression begins there. A branch is an
 * arm of an `if` or of `?:`, the right side of `&&`, `||` and `??`, a clause of a `switch`, or a `catch`.
 *
 *   --reached DIR   only sums up the coverage in a folder, which an earlier run wrote there (NODE_V8_COVERAGE)
 *   --list          names the lines that were not reached
 */
import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Node, type SourceFile, SyntaxKind } from 'typescript/unstable/ast'
import { API } from 'typescript/unstable/sync'

const ROOT = join(import.meta.dirname, '../..')
const FOLDERS = ['client/wire', 'client/delivery', 'client/messenger', 'client/ring', 'protocol', 'mailbox', 'relay', 'handover']
/** Statements that only contain others, or only declare types. */
const SILENT: readonly SyntaxKind[] = [
  SyntaxKind.Block,
  SyntaxKind.ImportDeclaration,
  SyntaxKind.ExportDeclaration,
  SyntaxKind.InterfaceDeclaration,
  SyntaxKind.TypeAliasDeclaration,
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.ClassDeclaration,
]

interface Range {
  readonly startOffset: number
  readonly endOffset: number
  readonly count: number
}

interface Script {
  readonly url: string
  readonly functions: readonly { readonly ranges: readonly Range[] }[]
}

/** What was reached of one file. */
interface Reached {
  readonly file: string
  /** By line: whether it was reached. */
  readonly lines: ReadonlyMap<number, boolean>
  readonly branches: readonly boolean[]
}

const words = process.argv.slice(2)
const lists = words.includes('--list')
const given = words.indexOf('--reached')
const folder = given === -1 ? mkdtempSync(join(tmpdir(), 'simulation-')) : words[given + 1]!
if (given === -1) {
  const main = ['--max-semi-space-size=64', join(import.meta.dirname, 'main.ts'), ...words.filter((word) => word !== '--list')]
  const { status } = spawnSync(process.execPath, main, { stdio: 'inherit', env: { ...process.env, NODE_V8_COVERAGE: folder } })
  process.exitCode = status ?? 1
}
const files = read(folder)
if (given === -1) rmSync(folder, { recursive: true })
const say = (line: string): void => void process.stdout.write(`${line}\n`)
for (const each of FOLDERS) {
  const some = files.filter(({ file }) => file.startsWith(`src/${each}/`))
  const lines = some.flatMap((one) => [...one.lines.values()])
  const branches = some.flatMap((one) => one.branches)
  say(`${`src/${each}`.padEnd(22)} lines ${percent(lines)}, branches ${percent(branches)}`)
  if (!lists) continue
  for (const { file, lines: all } of some) {
    const missed = [...all].filter(([, isReached]) => !isReached).map(([line]) => line)
    if (missed.length > 0) say(`  ${file}: ${missed.join(' ')}`)
  }
}

function percent(all: readonly boolean[]): string {
  const count = all.filter(Boolean).length
  return `${((100 * count) / all.length).toFixed(1).padStart(5)} % (${count} of ${all.length})`
}

/** Reads the coverage that V8 wrote, and the syntax of the sources. */
function read(coverage: string): Reached[] {
  const scripts = readdirSync(coverage)
    .filter((name) => name.startsWith('coverage-'))
    .flatMap((name) => (JSON.parse(readFileSync(join(coverage, name), 'utf8')) as { result: Script[] }).result)
  const api = new API({})
  try {
    const config = join(ROOT, 'tsconfig.json')
    const program = api.updateSnapshot({ openProjects: [config] }).getProject(config)?.program
    return FOLDERS.flatMap((each) => globSync(`src/${each}/*.ts`, { cwd: ROOT }).toSorted()).flatMap((file) => {
      const parsed = program?.getSourceFile(join(ROOT, file))
      // A file for web pages (.web.ts) replaces another one there.
      return parsed === undefined || file.endsWith('.web.ts') ? [] : [reachedIn(file, parsed, scripts)]
    })
  } finally {
    api.close()
  }
}

function reachedIn(file: string, parsed: SourceFile, scripts: readonly Script[]): Reached {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const url = pathToFileURL(join(ROOT, file)).href
  // Node removes types in place, so that each offset is that of the source.
  const reached = new Uint8Array(source.length)
  for (const { functions } of scripts.filter((script) => script.url === url)) {
    const now = new Uint8Array(source.length)
    for (const { ranges } of functions)
      for (const { startOffset, endOffset, count } of ranges) now.fill(Math.min(count, 1), startOffset, endOffset)
    for (const [at, one] of now.entries()) reached[at]! |= one
  }
  const lines = new Map<number, boolean>()
  const branches: boolean[] = []
  const isReached = (node: Node): boolean => reached[node.getStart(parsed)] === 1
  const addLine = (node: Node): void => {
    const line = source.slice(0, node.getStart(parsed)).split('\n').length
    lines.set(line, lines.get(line) === true || isReached(node))
  }
  const visit = (node: Node): void => {
    const { kind } = node as { kind: SyntaxKind }
    if (kind >= SyntaxKind.FirstTypeNode && kind <= SyntaxKind.LastTypeNode) return
    const parts = node as unknown as {
      readonly thenStatement: Node
      readonly elseStatement?: Node
      readonly whenTrue: Node
      readonly whenFalse: Node
      readonly operatorToken: { readonly kind: SyntaxKind }
      readonly right: Node
      readonly body?: Node
      readonly statements?: readonly Node[]
      readonly block: Node
    }
    const isStatement = kind >= SyntaxKind.FirstStatement && kind <= SyntaxKind.LastStatement
    if (isStatement && !SILENT.includes(kind)) addLine(node)
    switch (kind) {
      case SyntaxKind.IfStatement:
        branches.push(isReached(parts.thenStatement))
        if (parts.elseStatement !== undefined) branches.push(isReached(parts.elseStatement))
        break
      case SyntaxKind.ConditionalExpression:
        branches.push(isReached(parts.whenTrue), isReached(parts.whenFalse))
        break
      case SyntaxKind.BinaryExpression:
        if (
          [SyntaxKind.AmpersandAmpersandToken, SyntaxKind.BarBarToken, SyntaxKind.QuestionQuestionToken].includes(parts.operatorToken.kind)
        )
          branches.push(isReached(parts.right))
        break
      case SyntaxKind.CaseClause:
      case SyntaxKind.DefaultClause:
        // An empty clause is one with the next.
        if ((parts.statements?.length ?? 0) > 0) branches.push(isReached(parts.statements![0]!))
        break
      case SyntaxKind.CatchClause:
        branches.push(isReached(parts.block))
        break
      case SyntaxKind.ArrowFunction:
        if ((parts.body as { kind?: SyntaxKind } | undefined)?.kind !== SyntaxKind.Block) addLine(parts.body!)
    }
    node.forEachChild((child) => {
      visit(child)
      return undefined
    })
  }
  visit(parsed)
  return { file, lines, branches }
}
