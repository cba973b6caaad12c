/** The exit codes, as docs/operations.md lists them; from 69 on they are those of BSD's sysexits.h. */
export const EXIT = Object.freeze({
  /** Done. */
  ok: 0,
  /** It did not work, and the error says why. */
  failed: 1,
  /** The command line or the configuration is wrong; nothing was done. */
  usage: 2,
  /** Nobody answers at the relay or the operator's listener. */
  unreachable: 69,
  /** A defect of this program. */
  internal: 70,
  /** Sent, or kept to be sent, and not confirmed by its receiver. */
  unconfirmed: 75,
  /** The relay refused, or we refused the relay. */
  refused: 77,
})

export type ExitCode = (typeof EXIT)[keyof typeof EXIT]
