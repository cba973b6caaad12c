/** A relay's part in a handover, without a relay. */
import { createSecretKey } from 'node:crypto'
import type { Handing } from '../../src/handover/predecessor.ts'
import type { HeldMessage } from '../../src/mailbox/mailbox.ts'
import type { Spent } from '../../src/relay/senders.ts'

export const BOOT = Buffer.alloc(32, 1)
export const TOKEN = Buffer.alloc(32, 2)

export function createMessage(number: number, size = 1_000): HeldMessage {
  const mailbox = Buffer.alloc(32, number % 5).toString('base64url')
  return { mailbox, id: { high: number, low: ~number >>> 0 }, left: 1_000 + number, payload: Buffer.alloc(size, 65 + (number % 26)) }
}

export function createMessages(count: number): HeldMessage[] {
  return Array.from({ length: count }, (_, number) => createMessage(number))
}

/** The bundles of an owner that has messages. */
export const BUNDLES: readonly HeldMessage[] = [1, 2].map((number) => ({ ...createMessage(number, 3_000), id: { high: 0, low: 0 } }))

export interface Owner extends Handing {
  readonly state: { suspended: boolean; released: boolean; intact: boolean }
  onRelease: (() => void) | undefined
  onReopen: (() => Promise<void>) | undefined
}

/** The state of an owner that was never asked for a handover, or goes on after one. */
export const AS_BEFORE = { suspended: false, released: false, intact: true }

export function createOwner(messages: readonly HeldMessage[], spent: readonly Spent[] = []): Owner {
  const state = { suspended: false, released: false, intact: true }
  const bundles = messages.length === 0 ? [] : BUNDLES
  const owner: Owner = {
    state,
    onRelease: undefined,
    onReopen: undefined,
    bytes: () => messages.reduce((sum, { payload }) => sum + payload.length + 1_000, 0),
    async suspend() {
      state.suspended = true
      return {
        secrets: { boot: createSecretKey(BOOT), token: createSecretKey(TOKEN) },
        messages: messages.length,
        bundles: bundles.length,
        heldBundles: () => bundles.values() as Iterator<HeldMessage, void>,
        held: () => messages.values() as Iterator<HeldMessage, void>,
        spent: () => spent,
        intact: () => state.intact,
      }
    },
    resume: () => void (state.suspended = false),
    async release() {
      state.released = true
      owner.onRelease?.()
    },
    async reopen() {
      await owner.onReopen?.()
      state.released = false
    },
  }
  return owner
}
