/** What is wrong with a configuration, all of it at once. */
/** One thing that is wrong, in our own words: neither text repeats a value that was given. */
export interface Problem {
  /** The setting's key in the table below. */
  readonly key: string
  readonly problem: string
  readonly hint: string
  /** Where it stands, as its writer knows it: `--tcp`, `ASFALEIA_TCP`, `line 3 of the config file`. */
  readonly where?: string
}

/** The operator erred: every problem at once. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super('the configuration cannot be used')
    this.name = 'ConfigError'
    this.problems = problems
  }
}
