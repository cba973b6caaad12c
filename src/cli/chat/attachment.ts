/** Sends the user's files, and shows the progress of files in both directions. */
import { basename } from 'node:path'
import { fingerprintOf } from '../../client/format/field.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { FileDelivery } from '../../client/messenger/transfers.ts'
import { resolvePath } from '../disk/file.ts'
import { openFile, sourceOf } from '../talk/departure.ts'
import { CliError } from '../program/error.ts'
import type { Archive } from './archive.ts'
import type { Context } from './context.ts'
import type { Transfer } from '../../wording/delivery.ts'
import type { Effect } from './input.ts'
import { ARRIVAL_FAILURES, describeError, fileFailure, NO_RECEIVER } from './wording.ts'

export class Attachments {
  readonly #context: Context
  readonly #archive: Archive
  /** By their entry: files that this session sends and that have not all arrived; in a group, one for each member. */
  readonly #sent = new Map<number, readonly FileDelivery[]>()

  constructor(context: Context, archive: Archive) {
    this.#context = context
    this.#archive = archive
  }

  /** Sends a file to a contact, or to each member of a group. */
  send(effect: Extract<Effect, { kind: 'file' }>): void {
    const { key, path } = effect
    this.#context.attempt(
      () => this.#send(effect),
      (why) => {
        const transfer: Transfer = { name: basename(path), total: 0, moved: 0, state: 'failed', note: why }
        this.#context.put({ kind: 'transfer', key, transfer })
        this.#context.put({ kind: 'sent', key, deliveries: [] })
      },
    )
  }

  async #send({ key, conversation, path }: Extract<Effect, { kind: 'file' }>): Promise<void> {
    const { people, messenger } = this.#context.options
    const receivers = people.receivers(conversation)
    if (receivers.length === 0) throw new CliError(NO_RECEIVER)
    await using file = await openFile(resolvePath(path))
    const name = basename(path)
    const { size } = await file.stat()
    const source = sourceOf(file, name, size)
    const deliveries: FileDelivery[] = []
    try {
      for (const contact of receivers) deliveries.push(await messenger.sendFile(contact, source))
    } catch (error) {
      // The messenger rejects a wrong name or size by a TypeError.
      throw error instanceof TypeError ? new CliError(error.message) : error
    }
    this.#sent.set(key, deliveries)
    this.#show(key, deliveries)
    const states = await Promise.all(deliveries.map(({ settled }) => settled))
    if (states.every((state) => state === 'done')) this.#archive.keepFile(conversation, { name, total: size })
  }

  onSent({ file }: FileDelivery): void {
    for (const [key, deliveries] of this.#sent) if (deliveries.some((each) => each.file === file)) this.#show(key, deliveries)
  }

  #show(key: number, deliveries: readonly FileDelivery[]): void {
    const [first] = deliveries
    if (first === undefined) return
    const { name, total } = first
    const failed = deliveries.find(({ state }) => state === 'refused' || state === 'expired' || state === 'failed')
    const isDone = deliveries.every(({ state }) => state === 'done')
    const facts = { name, total, moved: deliveries.reduce((least, { confirmed }) => Math.min(least, confirmed), total) }
    const transfer: Transfer =
      failed !== undefined
        ? { ...facts, state: 'failed', note: fileFailure(failed) }
        : isDone
          ? { ...facts, state: 'done', note: 'arrived, and its hash is right' }
          : { ...facts, state: 'moving' }
    this.#context.put({ kind: 'transfer', key, transfer })
    // The progress replaces the state of a message.
    this.#context.put({ kind: 'sent', key, deliveries: [] })
    if (isDone) this.#sent.delete(key)
  }

  onReceived({ offer, state, bytes, error }: Extract<MessengerEvent, { kind: 'file-received' }>): void {
    const { from, file, name, total } = offer
    const conversation = fingerprintOf(from.key)
    const place = this.#context.options.places.get(file)
    if (state === 'done' && place !== undefined) this.#archive.keepFile(conversation, offer, from.name)
    const facts = { name, total, moved: bytes }
    const reason = error === undefined ? '' : `: ${describeError(error) ?? 'it cannot be written'}`
    const transfer: Transfer =
      state === 'receiving'
        ? { ...facts, state: 'moving' }
        : state === 'done'
          ? { ...facts, state: 'done', note: place === undefined ? 'received earlier' : `in ${place}` }
          : { ...facts, state: 'failed', note: ARRIVAL_FAILURES[state] + reason }
    this.#context.put({ kind: 'file', conversation, id: file, author: from.name, fingerprint: conversation, transfer })
  }

  /** Resolves when every file has arrived or failed. */
  async settled(): Promise<void> {
    await Promise.all(this.#all().map(({ settled }) => settled))
  }

  /** Whether every file has arrived. */
  get isDone(): boolean {
    return this.#all().every(({ state }) => state === 'done')
  }

  #all(): FileDelivery[] {
    return [...this.#sent.values()].flat()
  }
}
