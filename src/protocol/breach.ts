/** The ways in which a relay can break the protocol, as its client sees it. A breach ends the session. */
export type BreachReason =
  | 'line-too-long'
  | 'malformed-packet'
  | 'unknown-packet'
  | 'unasked-packet'
  | 'wrong-answer'
  | 'wrong-version'
  | 'wrong-batch'
  | 'too-much'
  | 'too-many-notices'
  | 'foreign-challenge'

/** Reports that the relay broke the protocol. Holds nothing that the relay sent. */
export class BreachError extends Error {
  readonly reason: BreachReason

  constructor(reason: BreachReason) {
    super(reason)
    this.name = 'BreachError'
    this.reason = reason
  }
}
