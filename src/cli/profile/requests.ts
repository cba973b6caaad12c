/**
 * Contact requests: messages of people who are not in the contact book and sent their card. They wait, encrypted to the
 * user's own key, until the user accepts, ignores or blocks the person. Strangers can fill this store, so it is bounded.
 */
import { lstat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Card, CardError, parseCard } from '../../client/format/card.ts'
import { open as openSealed, sealFor } from '../../client/format/envelope.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Identity } from '../../client/format/identity.ts'
import { makeFolder, readBytes, removeFile, writeWhole } from '../disk/file.ts'
import { CliError } from '../program/error.ts'

/** A message that waits with its sender's request. */
export interface RequestMessage {
  readonly id: string
  /** Seconds since 1970, by the sender's clock. */
  readonly time: number
  /** Empty if the message only introduces the sender. */
  readonly text: string
  /** The list of a group to which the sender invites the user. */
  readonly group?: string
  /** The name of that group. */
  readonly called?: string
  /** The sender asks that it disappears so many seconds after it was read: no history has it. */
  readonly expires?: number
  /** Whether `get` has shown it. */
  readonly shown?: boolean
}

export interface ContactRequest {
  readonly card: Card
  /** In the order in which they came. */
  readonly messages: readonly RequestMessage[]
  /** When the last message came, seconds since 1970. */
  readonly at: number
}

export const REQUESTS = Object.freeze({
  /** Most people with a request, and most bytes of all cards and texts. */
  people: 64,
  bytes: 1_048_576,
  /** Most messages and bytes of one person, so that one person cannot take the room of all. */
  messages: 16,
  each: 131_072,
  /** How long a request waits after its last message, seconds. */
  seconds: 30 * 86_400,
})

/** The encrypted text, with room for escapes. */
const FILE_BYTES = 16_777_216
const FILE = 'requests.age'
const FORM = 'asfaleia-requests/1'

export class Requests {
  readonly #path: string
  readonly #identity: Identity
  /** By fingerprint, the oldest first. */
  #people = new Map<string, ContactRequest>()
  #tail: Promise<unknown> = Promise.resolve()

  private constructor(path: string, identity: Identity) {
    this.#path = path
    this.#identity = identity
  }

  /**
   * Reads the file `requests.age` of the folder, which need not exist. Drops requests that waited too long.
   * @param now seconds since 1970
   * @throws {CliError} if the file cannot be read
   */
  static async open(folder: string, identity: Identity, now: number): Promise<Requests> {
    const requests = new Requests(join(folder, FILE), identity)
    await requests.#load(now)
    return requests
  }

  /** Whether the folder has stored requests. */
  static async exist(folder: string): Promise<boolean> {
    return (await lstat(join(folder, FILE)).catch(() => undefined)) !== undefined
  }

  list(): ContactRequest[] {
    return [...this.#people.values()]
  }

  /**
   * Adds a message to the request of its sender. A message that is there already is not added again.
   * @param now seconds since 1970
   * @returns false if there is no room
   * @throws {CliError} if the file cannot be written; then nothing is added
   */
  add(card: Card, message: RequestMessage, now: number): Promise<boolean> {
    return this.#change((people) => {
      const fingerprint = fingerprintOf(card.key)
      const before = people.get(fingerprint)
      if (before?.messages.some(({ id }) => id === message.id) === true) return true
      const newest = before === undefined || card.time > before.card.time ? card : before.card
      const request = { card: newest, messages: [...(before?.messages ?? []), message], at: now }
      if (request.messages.length > REQUESTS.messages || sizeOf(request) > REQUESTS.each) return false
      people.set(fingerprint, request)
      return people.size <= REQUESTS.people && [...people.values()].reduce((sum, each) => sum + sizeOf(each), 0) <= REQUESTS.bytes
    })
  }

  /** Removes the requests of people. @throws {CliError} */
  async remove(fingerprints: readonly string[]): Promise<void> {
    await this.#change((people) => fingerprints.map((each) => people.delete(each)).includes(true))
  }

  /** Marks messages as shown. @throws {CliError} */
  async markShown(ids: readonly string[]): Promise<void> {
    await this.#change((people) => {
      for (const [fingerprint, request] of people) {
        const messages = request.messages.map((each) => (ids.includes(each.id) ? { ...each, shown: true } : each))
        people.set(fingerprint, { ...request, messages })
      }
      return true
    })
  }

  /** Changes a copy, and stores it if `work` returns true. @returns what `work` returned */
  #change(work: (people: Map<string, ContactRequest>) => boolean): Promise<boolean> {
    const changed = this.#tail.then(async () => {
      const people = new Map(this.#people)
      if (!work(people)) return false
      await this.#save(people)
      this.#people = people
      return true
    })
    this.#tail = changed.catch(() => {})
    return changed
  }

  async #save(people: ReadonlyMap<string, ContactRequest>): Promise<void> {
    if (people.size === 0) return removeFile(this.#path)
    const lines = [...people.values()].map(({ card, ...request }) => `${JSON.stringify({ ...request, card: card.text })}\n`)
    await makeFolder(join(this.#path, '..'))
    await writeWhole(this.#path, await sealFor(this.#identity, Buffer.from(`${FORM}\n${lines.join('')}`)), { replace: true })
  }

  async #load(now: number): Promise<void> {
    const sealed = await readBytes(this.#path, FILE_BYTES)
    if (sealed === undefined) return
    const text = await openSealed(this.#identity, sealed)
    const requests = text === undefined ? undefined : await decode(Buffer.from(text).toString())
    if (requests === undefined)
      throw new CliError(`${this.#path}: the file is damaged, or encrypted to another key`, {
        hint: 'it was left untouched; to continue without it, move it away',
      })
    const fresh = requests.filter(({ at }) => at + REQUESTS.seconds >= now)
    this.#people = new Map(fresh.map((each) => [fingerprintOf(each.card.key), each]))
  }
}

function sizeOf({ card, messages }: ContactRequest): number {
  return messages.reduce((sum, { text, group = '' }) => sum + Buffer.byteLength(text) + Buffer.byteLength(group), card.text.length)
}

/** Checks the form and each card, since anyone can encrypt a file to the user's key. @returns undefined if the text is malformed */
async function decode(text: string): Promise<ContactRequest[] | undefined> {
  const [form, ...lines] = text.split('\n')
  if (form !== FORM || lines.pop() !== '') return undefined
  try {
    return await Promise.all(
      lines.map(async (line) => {
        const { card, messages, at } = JSON.parse(line) as { card: unknown; messages: unknown; at: unknown }
        if (typeof card !== 'string' || typeof at !== 'number' || !Array.isArray(messages) || !messages.every(isMessage))
          throw new TypeError()
        return { card: await parseCard(card), messages, at }
      }),
    )
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof CardError) return undefined
    throw error
  }
}

function isMessage(value: unknown): value is RequestMessage {
  const { id, time, text, group, called, expires, shown } = (value ?? {}) as Record<string, unknown>
  return (
    typeof id === 'string' &&
    typeof time === 'number' &&
    typeof text === 'string' &&
    (group === undefined || typeof group === 'string') &&
    (called === undefined || typeof called === 'string') &&
    (expires === undefined || typeof expires === 'number') &&
    (shown === undefined || typeof shown === 'boolean')
  )
}
