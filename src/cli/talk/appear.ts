import { Writable } from 'node:stream'
import type { Card } from '../../client/format/card.ts'
import type { Identity } from '../../client/format/identity.ts'
import { type Given, openProfile } from '../profile/profile.ts'
import { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { toCliError, wantsKey } from './refusal.ts'
import { openMessengerOf } from './talk.ts'

/** How long the relay of the inbox may take, ms. */
const PATIENCE_MS = 30_000

/**
 * Logs the inbox in once, so that its relay holds the user's bundle: without it no one can write a first message. If the
 * relay does not answer, a warning says so, and the next `get` or `chat` does it. People write to a card without an inbox
 * by its key, which needs no login.
 *
 * @param identity the profile's key, unlocked; without it, the key must open without a passphrase
 * @param reach how to reach the relay, instead of the profile's way
 */
export async function appear(
  card: Card,
  identity: Identity | undefined,
  io: Io,
  reach: Pick<Given, 'socks' | 'timeout'> = {},
): Promise<void> {
  if (card.inbox === undefined) return
  const patience = AbortSignal.timeout(PATIENCE_MS)
  const signal = AbortSignal.any([io.signal, patience])
  let owner: string | undefined
  let problem = 'your relay was not reached'
  try {
    const profile = await openProfile(identity === undefined ? { ...io, asks: false, stderr: silent() } : io, reach, identity)
    const [relay] = profile.relays
    if (relay === undefined) return
    const { messenger, holds, close } = await openMessengerOf(profile, io, {
      what: 'me',
      relays: [relay],
      takes: 'none',
      contacts: profile.book,
      outbox: false,
      reads: false,
      signal,
      onOwner: (what) => (owner = what),
    })
    try {
      // Another command that has reached the relay has published the bundle there.
      const isDone = (): boolean => owner !== undefined && holds(relay) !== undefined
      if (isDone()) return
      for await (const event of messenger.events()) {
        if (event.kind === 'published' && event.relay === relay) {
          problem = 'your relay has no key of yours for first messages'
          if (event.error !== undefined) throw event.error
          return
        }
        if (event.kind !== 'relay' || event.purpose !== 'receive' || event.relay !== relay) continue
        if (event.state === 'down') throw event.error
        if (isDone()) return
      }
      signal.throwIfAborted()
    } finally {
      await close()
    }
  } catch (error) {
    io.signal.throwIfAborted()
    const reason = patience.aborted ? undefined : toCliError(error, io.signal, card.relays[0])
    if (reason !== undefined && !(reason instanceof CliError)) throw reason
    const hint = wantsKey(error) && reason?.hint !== undefined ? reason.hint : FIRST
    io.stderr.write(`asfaleia: warning: ${problem}: ${reason?.message ?? 'it does not answer'}\nasfaleia: hint: ${hint}\n`)
  }
}

/** The command has said already which files of the profile are broken. */
const silent = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() })

const FIRST = 'people whom you have not met can write to you once `asfaleia get` or `asfaleia chat` has reached it'
