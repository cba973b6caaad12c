/**
 * `asfaleia get`: shows the messages that wait at the user's relays. It acknowledges a message only after it wrote it
 * to standard output. It also reports and acknowledges messages that do not decrypt: junk must not fill the mailbox
 * for good, and the relay must not learn from the acknowledgements which messages decrypt.
 */
import { join } from 'node:path'
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import { FILE } from '../../client/delivery/file.ts'
import type { MessengerEvent } from '../../client/messenger/event.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import type { Received } from '../../client/messenger/inbox.ts'
import type { FileOffer } from '../../client/messenger/transfers.ts'
import { readCommandLine } from '../program/arguments.ts'
import { Arrivals } from '../talk/arrival.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { MOST_GROUPS } from '../profile/groups.ts'
import { openProfile, type Profile } from '../profile/profile.ts'
import { warnOfInbox } from '../profile/sent-card.ts'
import { Asking } from '../talk/asking.ts'
import { MailboxWatch } from '../talk/mailbox-watch.ts'
import { describeJoined } from '../talk/request.ts'
import { describeReceived, type Enclosed, formatReceived, readEnclosed, whenOf } from '../talk/report.ts'
import { LOGIN_OPTIONS, openTalk, type Talk } from '../talk/talk.ts'
import { UnwritableError } from '../disk/file.ts'
import { PASSPHRASE_VARIABLE } from '../disk/passphrase.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { showName } from '../../wording/name.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'get',
  usages: ['get [--follow] [--files FOLDER] [OPTION …]'],
  options: {
    follow: { about: 'go on showing messages as they arrive, and reconnect after failures, until Ctrl-C' },
    files: { value: 'FOLDER', about: 'store files from contacts in FOLDER; also `files` in the profile' },
    outbox: { about: 'also send the messages in the outbox' },
    relay: { value: 'ADDRESS', about: "a relay to receive from, instead of the profile's: HOST[:PORT]", multiple: true },
    ...LOGIN_OPTIONS,
    json: { about: 'print one JSON object a line' },
  },
  variables: PASSPHRASE_VARIABLE,
  text: `
    Shows the messages that wait for you at your relays, and has the relays erase them. A message has the name of its sender if the
    signature proves it. Forged, redirected, unsigned, old or post-dated messages are marked. The lines of one message are indented;
    characters that could confuse a terminal appear as \\u{…}. On a terminal, the time stands behind the name.

    If a person who is not in your contacts sends their card, the line says that they want to talk; \`asfaleia contact accept\`,
    \`contact ignore\` or \`contact block\` answers.

    With --json, each line contains the fields that the message has: "verdict", "from" ("claimed" if forged) with "name", "fingerprint"
    and "key", "to", "id", "time", "after", "group", "gap", "late", "relay", "type" and the fields of that type. "base64" replaces
    "text" if the text is not UTF-8.`,
  examples: [
    ['show the messages that wait', 'asfaleia get'],
    ['go on showing messages, as JSON', 'asfaleia get --follow --json'],
  ],
} as const satisfies Page

/** How long to wait for the sending of receipts and acknowledgements at the end, in milliseconds. */
const FLUSH_MS = 30_000
/**
 * Parts of refused files to leave at the relay, unacknowledged: as many as a sender has in flight, and fewer than a
 * relay's window.
 */
const FILES_HELD = FILE.window

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values } = given
  const profile = await openProfile(io, values)
  const { relays, identity, home } = profile
  if (relays.length === 0) throw new UsageError('--relay is missing: your profile names no relay to receive from', { hint: given.hint })
  if (identity.opens.length === 0) {
    throw new CliError('this key can only sign, so messages cannot be encrypted to it', {
      hint: 'use an ssh-ed25519 or ssh-rsa key, or `asfaleia me --key`, which makes an encryption key',
    })
  }
  // A failure rejects the write; without a listener it would end the process, too.
  io.stdout.on('error', () => {})
  const show = new Show(profile, io, values.json === true)
  const asking = new Asking(profile.book, {
    json: values.json === true,
    isDated: io.stdout.isTTY === true,
    print: (line) => show.line(line),
    note: (text) => show.note(text),
  })
  const folder = values.files ?? profile.files
  const done = home === undefined ? undefined : join(home.stateFolder, 'files')
  const onArrived = (offer: FileOffer, path: string): void => void show.file(offer, path)
  const files = folder === undefined ? {} : { folder, files: new Arrivals(folder, done, onArrived) }
  let outbox = values.outbox === true || profile.outbox
  const follow = values.follow === true
  let talk: Talk | undefined
  try {
    const open = (): Promise<Talk> =>
      openTalk(profile, io, {
        what: follow ? 'get --follow' : 'get',
        relays,
        takes: 'rest',
        outbox,
        socks: values.socks,
        onArrived,
        onRequests: (requests) => asking.show(requests),
        onOwner(what) {
          if (what !== undefined && !what.startsWith('send') && what !== 'group')
            show.note(`the ${what} that runs already has the mailbox; this command shows what it has not shown`)
        },
        ...files,
      })
    talk = await open().catch((error: unknown) => {
      if (!outbox || !(error instanceof UnwritableError)) throw error
      show.note(`${error.message}; so this command leaves the outbox alone`)
      outbox = false
      return open()
    })
    const { messenger } = talk
    const watch = new MailboxWatch(messenger, relays, follow, show, io)
    asking.open(talk.requests)
    const missed = await takeAll(messenger, watch, show, follow)
    await asking.shown()
    if (io.signal.aborted && !follow) throw new CliError('interrupted')
    if (!follow) {
      await messenger.flush({ signal: AbortSignal.any([io.signal, AbortSignal.timeout(FLUSH_MS)]) }).catch(() => {})
      watch.conclude(missed, show.count)
      show.conclude()
    }
    return EXIT.ok
  } catch (error) {
    if (follow && io.signal.aborted) return EXIT.ok
    throw await diagnose(error, io, profile.socks, relays[0])
  } finally {
    await talk?.close()
  }
}

/**
 * Shows messages until none waits, or for ever with --follow.
 * @returns the relays that failed before they delivered all messages, with the error of each
 * @throws the error that ended it
 */
async function takeAll(messenger: MessengerPort, watch: MailboxWatch, show: Show, follow: boolean): Promise<ReadonlyMap<string, unknown>> {
  const messages = messenger.received()[Symbol.asyncIterator]()
  const over = follow ? new Promise<never>(() => {}) : messenger.fetched().then((missed) => ({ missed }))
  // Rejects if the store of seen messages cannot be read.
  const broken = messenger.ready.then(() => new Promise<never>(() => {}))
  for (;;) {
    // A message that is there wins over `over`, which only means that no further one will come.
    const next = await Promise.race([messages.next(), over, watch.failure, broken])
    if ('missed' in next) return next.missed
    if (next.done === true) return new Map()
    await show.take(next.value, messenger)
  }
}

/** Prints messages, and updates the groups that they are about. */
class Show {
  readonly #profile: Profile
  readonly #io: Io
  readonly #json: boolean
  /**
   * Offers and parts of files that this command does not store, the oldest first: they stay at the relay for a later
   * command.
   */
  readonly #files = new Map<string, Received>()
  /** Whether to show the time of each message. */
  readonly #isDated: boolean
  count = 0
  readonly #warned = new Set<string>()
  /** Messages that were shown and not acknowledged, because the disk takes no more. */
  #unkept = 0

  constructor(profile: Profile, io: Io, json: boolean) {
    this.#profile = profile
    this.#io = io
    this.#json = json
    this.#isDated = io.stdout.isTTY === true
  }

  /** Shows a message, and acknowledges it unless the disk takes no more. @throws {CliError} */
  async take(received: Received, messenger: MessengerPort): Promise<void> {
    try {
      if (await this.#message(received, messenger)) await received.done()
    } catch (error) {
      if (!(error instanceof UnwritableError)) throw error
      if (this.#unkept === 0) this.note(`${error.message}; the messages are shown, but stay at the relay`)
      this.#unkept++
    }
  }

  /** @throws {CliError} if messages were shown that stay at the relay */
  conclude(): void {
    if (this.#unkept === 0) return
    const count = this.#unkept === 1 ? '1 message stays' : `${this.#unkept} messages stay`
    throw new CliError(`${count} at the relay and will come again`, { hint: 'make room on the disk' })
  }

  /** @returns whether to acknowledge the message @throws {CliError} if standard output is closed */
  async #message(received: Received, messenger: MessengerPort): Promise<boolean> {
    const { groups, identity } = this.#profile
    const content = received.envelope?.content
    if (content?.type === 'file' && received.from !== undefined && received.verdict === 'genuine') {
      const name = `${fingerprintOf(received.from.key)} ${content.file} ${content.part}`
      const before = this.#files.get(name)
      this.#files.delete(name)
      this.#files.set(name, received)
      await before?.done()
      // They must not fill the relay's window. The sender repeats missing parts when the receiver asks for them.
      const [oldest] = this.#files
      if (oldest !== undefined && this.#files.size > FILES_HELD) {
        this.#files.delete(oldest[0])
        await oldest[1].done()
      }
      if (before === undefined && content.part === 0) await this.#print(received, await readEnclosed(received, groups, identity.key))
      return false
    }
    const enclosed = await readEnclosed(received, groups, identity.key)
    await this.#print(received, enclosed)
    await this.#apply(received, enclosed)
    await this.#warn(received)
    if (received.from !== undefined && received.envelope !== undefined && received.verdict === 'genuine')
      messenger.read(received.from, [received.envelope.id])
    return true
  }

  /** Says once for each contact that their card names another inbox. */
  async #warn({ verdict, envelope, from }: Received): Promise<void> {
    if (verdict !== 'genuine' || from === undefined || envelope === undefined) return
    const warning = await warnOfInbox(this.#profile.book, envelope)
    if (warning === undefined || this.#warned.has(warning)) return
    this.#warned.add(warning)
    this.note(warning)
  }

  async #print(received: Received, enclosed: Enclosed): Promise<void> {
    this.count++
    const { book } = this.#profile
    if (this.#json) return this.#write(`${formatJson(describeReceived(received, enclosed, book))}\n`)
    const { text, note } = formatReceived(received, enclosed, book, this.#isDated)
    if (note !== undefined) this.note(note)
    if (text !== undefined) await this.#write(text)
  }

  /**
   * Updates a group from a message of its maker, or of a member who leaves. Ignores messages that no contact signed.
   */
  async #apply({ verdict, envelope, from }: Received, { group, within }: Enclosed): Promise<void> {
    if (verdict !== 'genuine' || from === undefined || envelope === undefined) return
    const { book, groups, identity, home } = this.#profile
    const sender = fingerprintOf(envelope.from)
    if (envelope.content.type === 'leave' && within !== undefined) return groups.leave(within, sender)
    if (group === undefined || home === undefined || fingerprintOf(group.maker) !== sender) return
    const own = fingerprintOf(identity.key)
    const isMember = group.members.some(({ key }) => fingerprintOf(key) === own)
    const isKnown = groups.find(group) !== undefined
    if (!isMember && !isKnown) return
    if (!isKnown && groups.list().length >= MOST_GROUPS)
      return this.note(
        `the group ${showName(group.name, 'group')} was not added: you are in ${MOST_GROUPS} groups already; \`asfaleia group leave\` leaves one`,
      )
    const { known, change } = await groups.take(group, (name) => book.like(name) !== undefined)
    const name = showName(known.name, 'group')
    const show = ({ name, key }: Card): string => book.show(name, fingerprintOf(key))
    if (change === undefined) this.note(describeJoined(known.name))
    else if (change.kind === 'conflict')
      this.note(`the maker of the group ${name} signed two different lists as one version; the first list stays`)
    else if (change.kind === 'newer') {
      const joined = change.joined.map((card) => `${show(card)} joined`)
      const left = change.left.map((card) => `${show(card)} left`)
      this.note(
        `the group ${name} changed: ${[...joined, ...left, ...(isMember ? [] : ['you are no longer in it'])].join(', ') || 'a card changed'}`,
      )
    }
  }

  duplicate({ from, id }: Extract<MessengerEvent, { kind: 'duplicate' }>): void {
    // It changes nothing, and it is the rule if the sender gives each message to two relays: people need no remark.
    if (!this.#json) return
    const fingerprint = fingerprintOf(from)
    const name = this.#profile.book.find(fingerprint)?.name
    this.#io.stdout.write(`${formatJson({ verdict: 'replayed', from: { ...(name !== undefined && { name }), fingerprint }, id })}\n`)
  }

  /** Reports a complete file. */
  async file({ from, name, total, hash, file }: FileOffer, path: string): Promise<void> {
    this.count++
    const fingerprint = fingerprintOf(from.key)
    const line = this.#json
      ? formatJson({ type: 'file', state: 'done', from: { name: from.name, fingerprint }, file, name, total, hash, path })
      : `${this.#profile.book.show(from.name, fingerprint)}${this.#isDated ? ` ${whenOf(Date.now() / 1_000)}` : ''}: [a file: ${sanitizeLine(path)}, ${total} bytes]`
    await this.#write(`${line}\n`).catch(() => {})
  }

  progress({ offer, state, error }: Extract<MessengerEvent, { kind: 'file-received' }>): void {
    const from = this.#profile.book.show(offer.from.name, fingerprintOf(offer.from.key))
    const subject = `the file ${offer.name} from ${from}`
    if (state === 'damaged') this.note(`${subject} arrived damaged and was deleted`)
    if (state === 'failed') this.note(`${subject} could not be stored${error instanceof CliError ? `: ${error.message}` : ''}`)
  }

  /** Prints a line beside those of messages. @throws {CliError} if standard output is closed */
  line(text: string): Promise<void> {
    this.count++
    return this.#write(`${text}\n`)
  }

  note(text: string): void {
    this.#io.stderr.write(`asfaleia: ${sanitizeLine(text)}\n`)
  }

  /** Resolves when the system has the bytes. @throws {CliError} if standard output is closed */
  #write(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#io.stdout.write(text, (error) => {
        if (error) reject(new CliError('standard output is closed', { hint: 'the messages that were not shown still wait at the relay' }))
        else resolve()
      })
    })
  }
}
