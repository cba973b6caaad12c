/**
 * The limits that a relay tells its clients: the `key=value` fields of WELCOME (docs/protocol.md, section 6). Sizes are
 * in bytes, times in seconds.
 */
import { CLIENT_CAPS, DEFAULT_LIMITS, type Limits } from './limits.ts'
import { asciiText } from './packets.ts'

/** The limits that a client uses. */
export interface RelayLimits {
  readonly payload: number
  readonly line: number
  readonly window: number
  readonly batch: number
  readonly hold: number
  readonly idle: number
  readonly token: number
  readonly labels: number
}

/** The fields of limits that never change while a relay runs: a stranger can ask for them as often as it likes. */
const encoded = new WeakMap<Limits, string>()

/** Writes the limits in force as fields, joined by semicolons. */
export function encodeLimits(limits: Limits): string {
  const known = encoded.get(limits)
  if (known !== undefined) return known
  const fields = encodeFields(limits)
  encoded.set(limits, fields)
  return fields
}

function encodeFields(limits: Limits): string {
  const told = {
    payload: limits.payload,
    line: limits.payload + limits.lineOverhead,
    'line-before-token': limits.lineBeforeToken,
    'first-packet': limits.firstPacketSeconds,
    login: limits.loginSeconds,
    idle: limits.idleSeconds,
    mailbox: limits.mailboxMessages,
    hold: limits.holdSeconds,
    window: limits.window,
    batch: limits.batchMessages,
    'batch-bytes': limits.batchBytes,
    token: limits.tokenSeconds,
    labels: limits.labels,
  }
  return Object.entries(told)
    .map(([key, value]) => `${key}=${value}`)
    .join(';')
}

/**
 * Reads the limits that a client uses. Ignores unknown keys and malformed fields, takes the default for a missing key,
 * and bounds sizes by {@link CLIENT_CAPS}.
 */
export function decodeLimits(fields: readonly Uint8Array[]): RelayLimits {
  const told = new Map<string, number>()
  for (const field of fields) {
    const match = /^([a-z-]{1,32})=([1-9][0-9]{0,14})$/.exec(asciiText(field.subarray(0, 64)) ?? '')
    if (match !== null) told.set(match[1]!, Number(match[2]))
  }
  const payload = Math.min(told.get('payload') ?? DEFAULT_LIMITS.payload, CLIENT_CAPS.payload)
  return Object.freeze({
    payload,
    line: told.get('line') ?? payload + DEFAULT_LIMITS.lineOverhead,
    window: told.get('window') ?? DEFAULT_LIMITS.window,
    batch: Math.min(told.get('batch') ?? DEFAULT_LIMITS.batchMessages, CLIENT_CAPS.messages),
    hold: told.get('hold') ?? DEFAULT_LIMITS.holdSeconds,
    idle: told.get('idle') ?? DEFAULT_LIMITS.idleSeconds,
    token: told.get('token') ?? DEFAULT_LIMITS.tokenSeconds,
    labels: Math.min(told.get('labels') ?? 0, DEFAULT_LIMITS.labels),
  })
}
