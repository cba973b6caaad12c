/**
 * Refuses words of the command line that are not UTF-8. Node replaces their bytes by U+FFFD, so that a text would lose
 * letters, and a file of another name would be opened.
 */
import { readFileSync } from 'node:fs'
import { UsageError } from './error.ts'

/**
 * @param words the command line, as Node decoded it
 * @throws {UsageError} if the bytes of a word are not UTF-8. Only Linux shows them: elsewhere nothing is refused
 */
export function checkWords(words: readonly string[]): void {
  if (!words.some((word) => word.includes('\u{FFFD}'))) return
  const bytes = readWords().slice(-words.length)
  if (bytes.length < words.length) return
  for (const [index, word] of words.entries()) {
    // A word may contain a U+FFFD that its writer typed.
    if (!word.includes('\u{FFFD}') || bytes[index]!.equals(Buffer.from(word))) continue
    throw new UsageError(`word ${index + 1} of the command line is not UTF-8 text`, {
      hint: 'set the locale of your shell to UTF-8, or pass a text on standard input',
    })
  }
}

/** Returns all words of this process, or none if the system does not show them. */
function readWords(): Buffer[] {
  let all: Buffer
  try {
    all = readFileSync('/proc/self/cmdline')
  } catch {
    return []
  }
  const words: Buffer[] = []
  for (let start = 0, end = all.indexOf(0); end !== -1; start = end + 1, end = all.indexOf(0, start)) words.push(all.subarray(start, end))
  return words
}
