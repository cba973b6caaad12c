/**
 * A fuzz target: one parser of bytes that strangers, or other programs, choose. `run` must return for every input; a
 * throw is a finding.
 */
export interface Target {
  readonly name: string
  /** The files of src/ that it is about, as paths below src/. Their string literals become words of the mutator. */
  readonly covers: readonly string[]
  /** The longest input in bytes, by default {@link LONGEST}. */
  readonly longest?: number
  /** The length of stretched inputs, in bytes, by default 65,536; for a parser whose work for a byte is great. */
  readonly stretched?: number
  /** Good inputs, from which the search begins. */
  seeds(): readonly Input[] | Promise<readonly Input[]>
  /**
   * Feeds one input to the parser, and checks its properties.
   *
   * @returns the outcome in a word, such as an error's code: the search keeps an input with a new one
   * @throws if a property does not hold, or the parser throws an error that its documentation does not name
   */
  run(input: Uint8Array<ArrayBuffer>): string | Promise<string>
}

export type Input = Uint8Array | string

export const LONGEST = 4_096

/** Returns a copy of an input as bytes; a string's characters are bytes. */
export const bytesOf = (input: Input): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(typeof input === 'string' ? Buffer.from(input, 'latin1') : input)

/** Returns the input as text, one character for each byte. */
export const latin1 = (input: Uint8Array): string => Buffer.from(input).toString('latin1')

/** Returns the input as text in UTF-8, with U+FFFD for wrong bytes. */
export const utf8 = (input: Uint8Array): string => Buffer.from(input).toString('utf8')

/** Throws a finding. */
export function fail(what: string): never {
  throw new Error(`property: ${what}`)
}

/** Fails unless both are the same text. */
export function same(what: string, one: string, other: string): void {
  if (one !== other) fail(`${what}: ${JSON.stringify(one.slice(0, 200))} is not ${JSON.stringify(other.slice(0, 200))}`)
}

/**
 * Runs a parser that may refuse.
 *
 * @param isExpected whether the documentation names this error
 */
export function attempt<T>(work: () => T, isExpected: (error: unknown) => boolean): { readonly value: T } | { readonly refused: string } {
  try {
    return { value: work() }
  } catch (error) {
    return { refused: refusal(error, isExpected) }
  }
}

/** Does the same for an asynchronous parser. */
export async function attemptLater<T>(
  work: () => Promise<T>,
  isExpected: (error: unknown) => boolean,
): Promise<{ readonly value: T } | { readonly refused: string }> {
  try {
    return { value: await work() }
  } catch (error) {
    return { refused: refusal(error, isExpected) }
  }
}

function refusal(error: unknown, isExpected: (error: unknown) => boolean): string {
  if (!isExpected(error)) throw error
  const code = error instanceof Error ? ('code' in error ? error.code : 'problem' in error ? error.problem : undefined) : undefined
  return typeof code === 'string' ? code : error instanceof Error ? error.name : 'thrown'
}
