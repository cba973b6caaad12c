/** Makes defects from the syntax of the sources: other bounds, negated conditions, statements and checks that are gone. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Expression, type Node, type SourceFile, SyntaxKind } from 'typescript/unstable/ast'
import { API } from 'typescript/unstable/sync'
import { ROOT } from './defect.ts'

export interface Generated {
  readonly file: string
  readonly line: number
  readonly text: string
  readonly becomes: string
  /** The whole source with the defect. */
  readonly source: string
}

const OPERATORS: Readonly<Record<string, string>> = {
  '<': '<=',
  '<=': '<',
  '>': '>=',
  '>=': '>',
  '===': '!==',
  '!==': '===',
  '&&': '||',
  '||': '&&',
  '??': '&&',
  '+': '-',
  '-': '+',
  '*': '+',
  '/': '*',
  '%': '+',
  '+=': '-=',
  '-=': '+=',
}

const CONFIGS = ['tsconfig.json', 'src/page/tsconfig.json']

interface Change {
  readonly start: number
  readonly end: number
  readonly becomes: string
}

/** Generates the defects of all source files whose path begins with one of `places`, in the order of the text. */
export function generate(places: readonly string[]): Generated[] {
  const files = globSync('src/**/*.ts', { cwd: ROOT })
    .filter((file) => !file.endsWith('.d.ts') && places.some((place) => file.startsWith(place)))
    .toSorted()
  const api = new API({})
  try {
    const configs = CONFIGS.map((config) => join(ROOT, config))
    const snapshot = api.updateSnapshot({ openProjects: configs })
    const programs = configs.map((config) => snapshot.getProject(config)?.program)
    return files.flatMap((file) => {
      const parsed = programs.map((program) => program?.getSourceFile(join(ROOT, file))).find((each) => each !== undefined)
      if (parsed === undefined) throw new Error(`${file} is a part of none of ${CONFIGS.join(', ')}`)
      return defectsOf(file, parsed)
    })
  } finally {
    api.close()
  }
}

function defectsOf(file: string, parsed: SourceFile): Generated[] {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const changes: Change[] = []
  visit(parsed, parsed, false, changes)
  return changes.map(({ start, end, becomes }) => ({
    file,
    line: source.slice(0, start).split('\n').length,
    text: source.slice(start, end),
    becomes,
    source: source.slice(0, start) + becomes + source.slice(end),
  }))
}

/** @param inside whether the node is in a function: a number outside is a setting */
function visit(node: Node, file: SourceFile, inside: boolean, changes: Change[]): void {
  const start = node.getStart(file)
  const { end } = node
  const put = (becomes: string, from = start, to = end): void => void changes.push({ start: from, end: to, becomes })
  const textOf = (each: Node): string => each.getText(file)
  const { kind } = node as { kind: SyntaxKind }
  const parts = node as unknown as {
    readonly left: Expression
    readonly operatorToken: Node
    readonly right: Expression
    readonly expression: Expression
    readonly condition: Expression
    readonly elseStatement?: Node
    readonly operator: SyntaxKind
    readonly operand: Expression
  }
  if (kind >= SyntaxKind.FirstTypeNode && kind <= SyntaxKind.LastTypeNode) return
  if ([SyntaxKind.ImportDeclaration, SyntaxKind.InterfaceDeclaration, SyntaxKind.TypeAliasDeclaration].includes(kind)) return
  if (kind === SyntaxKind.BinaryExpression) {
    const operator = textOf(parts.operatorToken)
    const other = OPERATORS[operator]
    const isText = ['+', '+='].includes(operator) && /['"`]/.test(textOf(node))
    if (other !== undefined && !isText) put(other, parts.operatorToken.getStart(file), parts.operatorToken.end)
  } else if (kind === SyntaxKind.PrefixUnaryExpression && parts.operator === SyntaxKind.ExclamationToken) {
    put(textOf(parts.operand))
  } else if (kind === SyntaxKind.IfStatement) {
    const condition = parts.expression
    put('false', condition.getStart(file), condition.end)
    put('true', condition.getStart(file), condition.end)
  } else if (kind === SyntaxKind.ConditionalExpression) {
    put(`!(${textOf(parts.condition)})`, parts.condition.getStart(file), parts.condition.end)
  } else if (kind === SyntaxKind.ExpressionStatement && inside && parts.expression.kind !== SyntaxKind.SuperKeyword) {
    if (!textOf(node).startsWith('super(')) put(node.parent.kind === SyntaxKind.Block ? '' : '{}')
  } else if (kind === SyntaxKind.TrueKeyword) {
    put('false')
  } else if (kind === SyntaxKind.FalseKeyword) {
    put('true')
  } else if (kind === SyntaxKind.NumericLiteral && inside) {
    const value = Number(textOf(node).replaceAll('_', ''))
    if (Number.isInteger(value) && value < 10_000) put(String(value + 1))
  }
  const enters = [
    SyntaxKind.FunctionDeclaration,
    SyntaxKind.MethodDeclaration,
    SyntaxKind.ArrowFunction,
    SyntaxKind.Constructor,
    SyntaxKind.GetAccessor,
    SyntaxKind.FunctionExpression,
  ].includes(kind)
  node.forEachChild((child) => {
    visit(child, file, inside || enters, changes)
    return undefined
  })
}
