/** The kept inputs: one file for each target in test/corpus, one input a line, as a JSON string of its bytes. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bytesOf, latin1, type Target } from './target.ts'

export const CORPUS = join(import.meta.dirname, '../corpus')

const fileOf = ({ name }: Pick<Target, 'name'>): string => join(CORPUS, `${name}.jsonl`)

export function readCorpus(target: Pick<Target, 'name'>): Uint8Array<ArrayBuffer>[] {
  const file = fileOf(target)
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1)
  return lines.map((line) => bytesOf(JSON.parse(line) as string))
}

export function writeCorpus(target: Pick<Target, 'name'>, inputs: readonly Uint8Array[]): void {
  mkdirSync(CORPUS, { recursive: true })
  writeFileSync(fileOf(target), inputs.map((input) => `${encodeLine(input)}\n`).join(''))
}

/** Writes bytes as a JSON string in ASCII. */
export function encodeLine(input: Uint8Array): string {
  return JSON.stringify(latin1(input)).replaceAll(/[\x7f-\xff]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)
}
