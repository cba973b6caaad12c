/**
 * `asfaleia get`: shows the messages that wait at one's own relays, each as what it is. A message is acknowledged only
 * after it was written to stdout. One that does not open is said and acknowledged, too: anybody can send junk, which
 * must not fill the mailbox for good, and a relay must not learn from our ACKs what opens with our key.
 */
import { join } from 'node:path'
import { RelayError } from '../../client/wire/error.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { FILE } from '../../client/delivery/file.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { Messenger } from '../../client/messenger/messenger.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { FileOffer } from '../../client/messenger/transfers.ts'
import { openCommandLine } from '../program/arguments.ts'
import { Arrivals } from '../talk/arrival.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { duration, mayPass, toCliError } from '../talk/refusal.ts'
import { describeReceived, type Enclosed, formatReceived, readEnclosed } from '../talk/report.ts'
import { openTalk, type Talk, TALK_HELP, TALK_OPTIONS } from '../talk/talk.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia get [--follow] [--files FOLDER] [--json]'

const HELP = `usage: ${USAGE}

Shows the messages that wait for you at your relays, and has the relays erase them. A sender is named where the signature
proves it; what is forged, re-addressed, unsigned, dated ahead or old is said to be. Lines that belong to one message are
indented; what could confuse a terminal stands as \\u{…}. With --json a line has all that the message has: "verdict", "from"
("claimed" where it is forged) with "name", "fingerprint" and "key", "to", "id", "time", "after", "group", "gap", "late",
"relay", "type" and what belongs to the type; "base64" stands for "text" where it is no UTF-8.

  --follow              go on showing messages as they come, through lost connections, until Ctrl-C
  --files FOLDER        take files that contacts send, into that folder; also \`files\` of the profile
  --outbox              send what was kept in the outbox, too
  --relay HOST[:PORT]   a relay to receive from, instead of the profile's; again for more
${TALK_HELP}`

/** Groups that are taken up unasked. */
const MOST_GROUPS = 64

/** How long receipts and acknowledgements may take when all is shown, ms. */
const FLUSH_MS = 30_000
/** What of files is left at the relays, and not acknowledged: what a sender has under way at once, and less than a relay's window. */
const FILES_HELD = FILE.window

export async function run(argv: string[], io: Io): Promise<number> {
  const options = { ...TALK_OPTIONS, follow: { type: 'boolean' }, files: { type: 'string' }, outbox: { type: 'boolean' } } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options, words: 0 })
  if (given === undefined) return EXIT.ok
  const { values } = given
  const profile = await openProfile(io, values)
  const { relays, identity, home } = profile
  if (relays.length === 0) throw new UsageError('--relay is missing: the profile names no relay to receive from', { hint: USAGE })
  if (identity.opens.length === 0) {
    throw new CliError('that key can sign, but not decrypt: no message can be for it', {
      hint: 'use an ssh-ed25519 or ssh-rsa key, or `asfaleia me --key`, which makes a key to encrypt to',
    })
  }
  // Its failures reject the write; without a listener they would end the process as well.
  io.stdout.on('error', () => {})
  const show = new Show(profile, io, values.json === true)
  const folder = values.files ?? profile.files
  const done = home === undefined ? undefined : join(home.stateFolder, 'files')
  const files = folder === undefined ? {} : { files: new Arrivals(folder, done, (offer, path) => void show.file(offer, path)) }
  const outbox = values.outbox === true || profile.outbox
  const follow = values.follow === true
  let talk: Talk | undefined
  try {
    talk = await openTalk(profile, io, { relays, outbox, ...files })
    const { messenger } = talk
    const watch = new Watch(messenger, relays, follow, show, io)
    const missed = await takeAll(messenger, watch, show, follow)
    if (io.signal.aborted && !follow) throw new CliError('interrupted')
    if (!follow) {
      await messenger.flush({ signal: AbortSignal.any([io.signal, AbortSignal.timeout(FLUSH_MS)]) }).catch(() => {})
      watch.conclude(missed, show.count)
    }
    return EXIT.ok
  } catch (error) {
    if (follow && io.signal.aborted) return EXIT.ok
    throw await diagnose(error, io, profile.socks)
  } finally {
    await talk?.close()
  }
}

/**
 * Shows messages until all that waited are shown, or for good.
 * @returns the relays of which not all came, with why
 * @throws what ended it
 */
async function takeAll(messenger: Messenger, watch: Watch, show: Show, follow: boolean): Promise<ReadonlyMap<string, unknown>> {
  const messages = messenger.received()[Symbol.asyncIterator]()
  const over = follow ? new Promise<never>(() => {}) : messenger.fetched().then((missed) => ({ missed }))
  // A store of what came that cannot be read.
  const broken = messenger.ready.then(() => new Promise<never>(() => {}))
  for (;;) {
    // What is there already comes first: `over` says only that nothing more will be.
    const next = await Promise.race([messages.next(), over, watch.failure, broken])
    if ('missed' in next) return next.missed
    if (next.done === true) return new Map()
    if (!(await show.message(next.value, messenger))) continue
    await next.value.done()
  }
}

/** What happens beside the messages. */
class Watch {
  readonly #io: Io
  readonly #relays: readonly string[]
  readonly #follow: boolean
  readonly #up = new Set<string>()
  readonly #errors = new Map<string, unknown>()
  readonly #failure = Promise.withResolvers<never>()
  /** Rejects when there is nothing more to wait for. */
  readonly failure: Promise<never> = this.#failure.promise

  constructor(messenger: Messenger, relays: readonly string[], follow: boolean, show: Show, io: Io) {
    this.#io = io
    this.#relays = relays
    this.#follow = follow
    this.failure.catch(() => {})
    const events = messenger.events()
    void (async () => {
      for await (const event of events) {
        if (event.kind === 'relay' && event.purpose === 'receive') this.#onRelay(event)
        else if (event.kind === 'duplicate') show.duplicate(event)
        else if (event.kind === 'file-received') show.progress(event)
      }
    })()
  }

  #onRelay({ relay, state, error, again }: Extract<MessengerEvent, { kind: 'relay' }>): void {
    if (state === 'up') this.#up.add(relay)
    if (state === 'up') this.#errors.delete(relay)
    if (state !== 'down' || error === undefined) return
    this.#errors.set(relay, error)
    const errors = [...this.#errors.values()]
    const allDown = errors.length === this.#relays.length
    if (allDown && (errors.every((each) => !mayPass(each)) || (this.#follow && this.#up.size === 0))) this.#failure.reject(errors[0])
    else if (this.#follow) {
      const pause = mayPass(error) && again !== undefined ? `; trying again in ${duration(Math.ceil(again / 1_000))}` : ''
      this.#io.stderr.write(`asfaleia: ${this.#nameOf(relay)}${describeError(error)}${pause}\n`)
    }
  }

  /** When all that could be had was shown. @throws the error where no relay gave all that it had */
  conclude(missed: ReadonlyMap<string, unknown>, shown: number): void {
    const errors = [...missed]
    if (errors.length === this.#relays.length && errors.length > 0) throw errors[0]![1]
    for (const [relay, error] of errors) this.#io.stderr.write(`asfaleia: ${this.#nameOf(relay)}${describeError(error)}\n`)
    if (shown === 0) this.#io.stderr.write('asfaleia: no messages wait\n')
  }

  /** Which it was matters where there are several. */
  #nameOf(relay: string): string {
    return this.#relays.length > 1 ? `${sanitizeLine(relay)}: ` : ''
  }
}

function describeError(error: unknown): string {
  return error instanceof RelayError ? (toCliError(error, NEVER) as CliError).message : 'the relay cannot be used'
}

const NEVER = new AbortController().signal

/** What is printed. */
class Show {
  readonly #profile: Profile
  readonly #io: Io
  readonly #json: boolean
  /** Offers and parts of files that nobody takes, the oldest first: they wait at the relay for who takes them. */
  readonly #files = new Map<string, Received>()
  count = 0

  constructor(profile: Profile, io: Io, json: boolean) {
    this.#profile = profile
    this.#io = io
    this.#json = json
  }

  /** @returns whether it may be acknowledged @throws {CliError} if nobody takes what is printed */
  async message(received: Received, messenger: Messenger): Promise<boolean> {
    const { groups } = this.#profile
    const content = received.envelope?.content
    if (content?.type === 'file' && received.from !== undefined && received.verdict === 'genuine') {
      const name = `${fingerprintOf(received.from.key)} ${content.file} ${content.part}`
      const before = this.#files.get(name)
      this.#files.delete(name)
      this.#files.set(name, received)
      await before?.done()
      // They must not take all of a relay's window: what the receiver does not have is sent again when it is asked for.
      const [oldest] = this.#files
      if (oldest !== undefined && this.#files.size > FILES_HELD) {
        this.#files.delete(oldest[0])
        await oldest[1].done()
      }
      if (before === undefined && content.part === 0) await this.#print(received, await readEnclosed(received, groups))
      return false
    }
    const enclosed = await readEnclosed(received, groups)
    await this.#print(received, enclosed)
    await this.#apply(received, enclosed)
    if (received.from !== undefined && received.envelope !== undefined && received.verdict === 'genuine')
      messenger.read(received.from, [received.envelope.id])
    return true
  }

  async #print(received: Received, enclosed: Enclosed): Promise<void> {
    this.count++
    const { book } = this.#profile
    if (this.#json) return this.#write(`${formatJson(describeReceived(received, enclosed, book))}\n`)
    const { text, note } = formatReceived(received, enclosed, book)
    if (note !== undefined) this.note(note)
    if (text !== undefined) await this.#write(text)
  }

  /** Takes up what a group's maker says of it, and who left. Nothing but a proven message of a contact changes anything. */
  async #apply({ verdict, envelope, from }: Received, { group, within }: Enclosed): Promise<void> {
    if (verdict !== 'genuine' || from === undefined || envelope === undefined) return
    const { book, groups, identity, home } = this.#profile
    const sender = fingerprintOf(envelope.from)
    if (envelope.content.type === 'leave' && within !== undefined) return groups.leave(within, sender)
    if (group === undefined || home === undefined || fingerprintOf(group.maker) !== sender) return
    const own = fingerprintOf(identity.key)
    const isMember = group.members.some(({ key }) => fingerprintOf(key) === own)
    const isKnown = groups.find(group.id) !== undefined
    if (!isMember && !isKnown) return
    // A contact can ask into as many groups as it likes.
    if (!isKnown && groups.list().length >= MOST_GROUPS)
      return this.note(`the group ${group.name} was not taken: you are in ${MOST_GROUPS} already; \`asfaleia group leave\` leaves one`)
    const { known, change } = await groups.take(group, (name) => book.get(name) !== undefined)
    const name = sanitizeLine(known.name)
    if (change === undefined) this.note(`you are in the group ${name}: \`asfaleia group show\` says who is`)
    else if (change.kind === 'other') this.note(`the group ${group.name} was not taken: the group ${name} of somebody else has its id`)
    else if (change.kind === 'conflict') this.note(`the maker of the group ${name} signed two of one version: the first one stays`)
    else if (change.kind === 'newer') {
      const joined = change.joined.map((card) => `${sanitizeLine(card.name)} joined`)
      const left = change.left.map((card) => `${sanitizeLine(card.name)} left`)
      this.note(
        `the group ${name} is another: ${[...joined, ...left, ...(isMember ? [] : ['you are no longer in it'])].join(', ') || 'a card changed'}`,
      )
    }
  }

  duplicate({ from, id }: Extract<MessengerEvent, { kind: 'duplicate' }>): void {
    const fingerprint = fingerprintOf(from)
    const name = this.#profile.book.find(fingerprint)?.name
    if (this.#json)
      this.#io.stdout.write(`${formatJson({ verdict: 'replayed', from: { ...(name !== undefined && { name }), fingerprint }, id })}\n`)
    else this.note(`a message of ${name ?? fingerprint} that came before came again, and was dropped`)
  }

  /** A file is there. */
  async file({ from, name, total, hash, file }: FileOffer, path: string): Promise<void> {
    this.count++
    const fingerprint = fingerprintOf(from.key)
    const line = this.#json
      ? formatJson({ type: 'file', state: 'done', from: { name: from.name, fingerprint }, file, name, total, hash, path })
      : `${sanitizeLine(from.name)}: [a file: ${sanitizeLine(path)}, ${total} bytes]`
    await this.#write(`${line}\n`).catch(() => {})
  }

  progress({ offer, state, error }: Extract<MessengerEvent, { kind: 'file-received' }>): void {
    const what = `the file ${offer.name} of ${offer.from.name}`
    if (state === 'damaged') this.note(`${what} came damaged, and was thrown away`)
    if (state === 'failed') this.note(`${what} could not be taken${error instanceof CliError ? `: ${error.message}` : ''}`)
  }

  note(text: string): void {
    this.#io.stderr.write(`asfaleia: ${sanitizeLine(text)}\n`)
  }

  /** Resolves when the bytes were handed to the system. @throws {CliError} if nobody takes them */
  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.stdout.write(text, (error) => {
        if (error) reject(new CliError('stdout is closed', { hint: 'messages that were not shown wait still' }))
        else resolve()
      })
    })
  }
}
