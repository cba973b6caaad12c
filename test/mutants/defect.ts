/**
 * Small defects that the tests must notice, for `npm run mutants`. A row names a text that occurs once in a source file,
 * and the text of the defect. The unit tests of the row's group notice it (`by: 'unit'`, test/mutants/unit), or the
 * simulation does (`by: 'simulation'`, test/mutants/simulation.ts).
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Defect {
  /** The source file, from the root of the tree. */
  readonly file: string
  /** Occurs in the file exactly once. */
  readonly text: string
  readonly becomes: string
  readonly by: 'unit' | 'simulation'
  /** The test files or folders that should notice, from the root of the tree. Empty if the simulation should. */
  readonly tests: readonly string[]
  /** What goes wrong, as a sentence. */
  readonly harm: string
  /** Why no test can notice. */
  readonly equivalent?: string
}

/** The text, the text of the defect, what goes wrong, and why no test can notice if the defect is equivalent. */
export type Row = readonly [text: string, becomes: string, harm: string, equivalent?: string]

export const ROOT = join(import.meta.dirname, '../..')

/** Defects of one file that these unit tests should notice. */
export const forTests = (file: string, tests: readonly string[], rows: readonly Row[]): Defect[] => defects(file, 'unit', tests, rows)

/** Defects of one file that the simulation should notice. */
export const forSimulation = (file: string, rows: readonly Row[]): Defect[] => defects(file, 'simulation', [], rows)

function defects(file: string, by: Defect['by'], tests: readonly string[], rows: readonly Row[]): Defect[] {
  return rows.map(([text, becomes, harm, equivalent]) => ({
    file,
    text,
    becomes,
    by,
    tests,
    harm,
    ...(equivalent !== undefined && { equivalent }),
  }))
}

/**
 * Returns the file's source with the defect.
 * @throws Error if the text does not occur exactly once
 */
export function apply({ file, text, becomes }: Pick<Defect, 'file' | 'text' | 'becomes'>): string {
  const [before, after, ...others] = readFileSync(join(ROOT, file), 'utf8').split(text)
  if (before === undefined || after === undefined || others.length > 0) {
    throw new Error(`${file} has ${after === undefined ? 'no' : 'more than one'} text: ${text}`)
  }
  return `${before}${becomes}${after}`
}
