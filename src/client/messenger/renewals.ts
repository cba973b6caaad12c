/**
 * Encrypts unconfirmed messages anew: if their receiver may have lost the keys (S4, R5, R6 of docs/protocol.md, section
 * 13), or once there is a key for a message that had none. Also reports messages of contacts that no key opens.
 */
import type { OutboxTask } from '../delivery/entry.ts'
import { isOver } from '../delivery/backoff.ts'
import type { Outbox } from '../delivery/outbox.ts'
import { tagOf } from '../ring/keys.ts'
import { onReport, takeReport } from '../ring/receiving.ts'
import { RING } from '../ring/state.ts'
import { RelayError } from '../wire/error.ts'
import type { Contact } from './contact.ts'
import type { Context } from './context.ts'
import type { Sealed } from './sealer.ts'
import type { Content } from '../format/content.ts'

/** How long to try to send a report of unreadable messages, ms. */
const REPORT_MS = 86_400_000
/** After so many copies, in about a week, a message to the bundle is encrypted to the bundle of that day. */
const DAILY_COPIES = 10
/** The pause after a message could not be encrypted anew for an inbox, ms. */
const FALL_BACK_MS = 60_000

export interface RenewalsPort {
  readonly protect: (to: Contact, id: string, sealed: Pick<Sealed, 'protection' | 'daily'>) => void
  readonly save: () => void
  readonly post: (to: Contact, content: Content, deadline: number, onChange: undefined, way: 'daily' | undefined) => string
}

export class Renewals {
  readonly #context: Context
  readonly #outbox: Outbox
  readonly #port: RenewalsPort
  #fallsBackAt = 0
  #sealing = Promise.resolve()

  constructor(context: Context, outbox: Outbox, port: RenewalsPort) {
    this.#context = context
    this.#outbox = outbox
    this.#port = port
  }

  /** Whether a message goes to the bundle from now on (S4), or to a newer bundle than before. */
  isGivenUp({ to, copies, daily, payload }: Extract<OutboxTask, { kind: 'send' }>): boolean {
    const { sealer, options } = this.#context
    if (sealer === undefined || payload.length === 0 || copies < (daily ? DAILY_COPIES : RING.resends + 1)) return false
    const contact = options.contacts.find(to)
    return contact !== undefined && sealer.isGivenUp(contact, copies - 1)
  }

  /** Encrypts messages to the bundle that no relay of an address takes (S4). */
  fallBack(now: number, isOnline: boolean): void {
    if (!isOver(this.#fallsBackAt, now, FALL_BACK_MS)) return
    const ids = this.#outbox.stranded(now, isOnline)
    if (ids.length === 0) return
    this.#fallsBackAt = now + FALL_BACK_MS
    void this.#context.track(
      Promise.all(ids.map((id) => this.renew(id, 'daily'))).then((all) => {
        if (!all.includes(false)) this.#fallsBackAt = 0
      }),
    )
  }

  /**
   * Encrypts a message anew, if it is still unconfirmed.
   * @param renewals how often the receiver asked for it
   * @returns whether it did
   */
  async renew(id: string, way?: 'daily', renewals?: number): Promise<boolean> {
    const { sealer, options, emit, schedule } = this.#context
    const entry = this.#outbox.find(id)
    const contact = entry && options.contacts.find(entry.to)
    if (sealer === undefined || entry === undefined || contact === undefined) return false
    try {
      const sealed = await sealer.renew(contact, entry, way)
      if (sealed === undefined) return false
      this.#outbox.onRenewed(id, { ...sealed, renewals: renewals ?? entry.renewals ?? 0 })
      this.#port.protect(contact, id, sealed)
      this.#port.save()
      return true
    } catch (error) {
      emit({ kind: 'not-kept', error })
      return false
    } finally {
      schedule()
    }
  }

  /** The contact has begun anew (R6). */
  async onAnew(contact: string): Promise<void> {
    for (const { id } of this.#outbox.listTo(contact)) await this.renew(id)
  }

  /**
   * The contact gave keys: messages that wait for a bundle need none. A contact erases the keys that are older than one that
   * was used (R2), so later messages need newer keys, too. Calls follow each other: a message takes one key.
   */
  onKeys(contact: string): Promise<void> {
    return (this.#sealing = this.#sealing.then(async () => {
      for (;;) {
        const waiting = this.#outbox.listTo(contact).find(({ payload }) => payload.length === 0)
        if (waiting === undefined) return
        await this.renew(waiting.id)
        // No key is left for it, nor for later ones.
        if (this.#outbox.find(waiting.id)?.payload.length === 0) return
        let isLater = false
        for (const { id, payload, renewals = 0 } of this.#outbox.listTo(contact))
          if (id === waiting.id) isLater = true
          else if (isLater && payload.length > 0) this.#outbox.onRenewed(id, { payload: new Uint8Array(0), daily: true, renewals })
      }
    }))
  }

  /** The contact cannot read messages (R5). */
  async onUnreadable(
    contact: string,
    report: { readonly time: number; readonly id: string; readonly tags: readonly string[] },
  ): Promise<void> {
    const entries = this.#outbox.listTo(contact).filter(({ payload }) => report.tags.includes(tagOf(payload)))
    if (entries.length === 0) return
    await this.#context.rings?.change(contact, (ring) => ({ ring: onReport(ring, report), value: undefined }))
    for (const { id, renewals = 0 } of entries) {
      if (renewals >= RING.renewals) continue
      // The key of the report first; then the bundle, which the contact can always open.
      await this.renew(id, renewals > 0 ? 'daily' : undefined, renewals + 1)
    }
  }

  /** Sends the reports of unreadable messages that are due. */
  async report(now: number): Promise<void> {
    const { rings, options, random } = this.#context
    for (const fingerprint of rings?.reporting(now) ?? []) {
      const contact = options.contacts.find(fingerprint)
      const report = await rings!.change(fingerprint, (ring) => {
        const taken = takeReport(ring, { now: Math.floor(now / 1_000), random: random() })
        return taken && { ring: taken.ring, value: taken }
      })
      if (report === undefined || contact === undefined) continue
      this.#port.post(contact, { type: 'unreadable', tags: report.tags }, now + REPORT_MS, undefined, report.way)
    }
  }

  /**
   * Fetches the receiver's bundle, and encrypts a message to it that is on its way there.
   * @throws {RelayError} `no-bundle` or `old-bundle`
   */
  async sealLate(id: string, fetch: (inbox: string) => Promise<Uint8Array | undefined>): Promise<Uint8Array> {
    const { sealer, options, emit } = this.#context
    const find = (): ReturnType<Outbox['find']> => this.#outbox.find(id)
    const contact = options.contacts.find(find()?.to ?? '')
    if (sealer === undefined || contact === undefined) throw new RelayError('no-bundle')
    await sealer.fetchBundle(contact, fetch)
    const entry = find()
    // Meanwhile the contact may have given keys: then the message goes to an address, and not here.
    if (entry?.text === undefined || entry.daily !== true) throw new RelayError('no-bundle')
    if (entry.payload.length > 0) return entry.payload
    const sealed = await sealer.renew(contact, entry, 'daily').catch((error: unknown) => {
      emit({ kind: 'not-kept', error })
      return undefined
    })
    if (sealed === undefined || sealed.payload.length === 0 || find()?.payload.length !== 0) throw new RelayError('no-bundle')
    this.#outbox.onSealed(id, sealed.payload)
    this.#port.save()
    return sealed.payload
  }
}
