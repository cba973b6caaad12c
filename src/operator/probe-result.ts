/** The words and numbers that one try to reach the relay through Tor can end in. */

/**
 * Why the relay was not reached. `no-answer`: it ended the connection or stayed silent. `refused`: it refused, or the
 * peer is no relay. `untried`: the program that should try in the relay's stead has not reported for long.
 */
export const PROBE_PROBLEMS = [
  'proxy-down',
  'proxy-failed',
  'onion-not-found',
  'onion-unreachable',
  'onion-locked',
  'onion-malformed',
  'relay-down',
  'unreachable',
  'connect-timeout',
  'no-answer',
  'refused',
  'untried',
] as const
export type ProbeProblem = (typeof PROBE_PROBLEMS)[number]

/** `seconds` is the round trip through Tor, from PING to PONG. */
export type ProbeResult = { readonly reached: true; readonly seconds: number } | { readonly reached: false; readonly problem: ProbeProblem }
