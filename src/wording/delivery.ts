/** The states of sent messages and of files, in words. */
import type { FileState } from '../client/delivery/file.ts'

export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'

/** What protects a message, from the best to the least: see {@link weakest}. */
export type Protection = 'one-time' | 'daily' | 'key'

const LEVELS = ['one-time', 'daily', 'key'] as const

/** Returns the least of the protections; undefined if there is none. */
export function weakest(all: readonly (Protection | undefined)[]): Protection | undefined {
  return LEVELS.findLast((level) => all.includes(level))
}

/** Whether a value of a stored record is a protection. */
export function isProtection(value: unknown): value is Protection {
  return LEVELS.some((level) => level === value)
}

/** Whether the first protects less than the second. */
export function isWeaker(one: Protection, other: Protection): boolean {
  return LEVELS.indexOf(one) > LEVELS.indexOf(other)
}

/** The delivery of a message to one receiver. */
export interface Delivery {
  readonly id: string
  /** The receiver's fingerprint, and name. */
  readonly member: string
  readonly to: string
  readonly state: DeliveryState
  /** The reason of `failed` or `expired`. */
  readonly why?: string
  /** Missing until the message is encrypted, and for messages of an earlier session. */
  readonly protection?: Protection
}

export interface Transfer {
  readonly name: string
  /** Bytes. */
  readonly total: number
  readonly moved: number
  readonly state: 'moving' | 'done' | 'failed'
  /** The path of a received file, or the reason of a failure. */
  readonly note?: string
}

/**
 * Describes the state of a sent message in a word or two; in a group, the least state, and how many members have it.
 */
export function deliveryText({
  deliveries,
  file,
}: {
  readonly deliveries: readonly Delivery[]
  readonly file?: unknown
}): { readonly text: string; readonly role: 'good' | 'warn' | 'bad' | 'dim' } | undefined {
  const [first] = deliveries
  if (first === undefined) return undefined
  const failed = deliveries.find(({ state }) => state === 'failed' || state === 'expired')
  if (failed !== undefined) {
    const whom = deliveries.length > 1 ? ` to ${failed.to}` : ''
    return {
      text: `${failed.state === 'failed' ? 'failed' : 'unconfirmed'}${whom}${failed.why === undefined ? '' : `: ${failed.why}`}`,
      role: 'bad',
    }
  }
  const order = ['waiting', 'held', 'delivered', 'read'] as const
  const least = order.find((state) => deliveries.some((each) => each.state === state)) ?? 'waiting'
  const role = least === 'waiting' ? 'warn' : least === 'held' ? 'dim' : 'good'
  if (deliveries.length === 1) return { text: file !== undefined && least === 'waiting' ? 'on its way' : least, role }
  const have = deliveries.filter(({ state }) => state === 'delivered' || state === 'read').length
  if (have === 0 || have === deliveries.length) return { text: `${least}${have === 0 ? '' : ` ${have}/${have}`}`, role }
  return { text: `delivered ${have}/${deliveries.length}`, role }
}

/** Why a received file is useless. */
export const DAMAGED = 'damaged: its hash is wrong'
export const NOT_RECEIVED = 'not received'

/** Describes why a file was not sent. */
export function fileFailure(state: FileState, to: string, why: string | undefined): string {
  switch (state) {
    case 'refused':
      return `${to} refused it`
    case 'expired':
      return `${to} did not accept it in time`
    case 'failed':
    case 'offered':
    case 'sending':
    case 'done':
      return `not sent to ${to}${why === undefined ? '' : `: ${why}`}`
  }
}
