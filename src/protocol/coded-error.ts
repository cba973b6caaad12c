/**
 * The base of every error that carries a code. A subclass narrows `Code` to a closed set of string literals, so a
 * `switch` on `error.code` is checked for completeness.
 */
export class CodedError<Code extends string> extends Error {
  readonly code: Code

  /**
   * @param name The public name of the subclass. It is passed in because a minifier may rename the class.
   * @param message One line for people. Subclasses without texts of their own use the code.
   */
  constructor(name: string, code: Code, message: string = code) {
    super(message)
    this.name = name
    this.code = code
  }
}
