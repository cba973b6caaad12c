/** The problems of a configuration, which are reported all at once. */

/** One problem. Neither text repeats a value of the configuration. */
export interface Problem {
  /** The setting's key (setting.ts). */
  readonly key: string
  readonly problem: string
  readonly hint: string
  /** The place of the value: `--tcp`, `ASFALEIA_TCP`, `line 3 of the config file`. */
  readonly where?: string
}

/** The operator's configuration is wrong. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super('the configuration is invalid')
    this.name = 'ConfigError'
    this.problems = problems
  }
}
