/** Publishes the bundle of the user's inbox: at each login of the inbox, and again each day (docs/protocol.md, section 14). */
import { hybridKey } from '../../auth/age-hybrid.ts'
import { makeBundle, readBundle } from '../format/bundle.ts'
import type { RelayClient } from '../wire/client.ts'
import type { Context } from './context.ts'
import { onPublished, tick, today } from './secrets.ts'

const DAY = 86_400
const SEED_BYTES = 32

export class Publisher {
  readonly #context: Context

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Publishes the recipient of today, unless the relay has it.
   * @param at.mailbox the fingerprint of the mailbox that holds the bundle
   * @param at.client logged in with the key of that mailbox
   * @returns when to publish again, ms
   * @throws errors of the store and of the relay
   */
  async publish({
    relay,
    mailbox,
    client,
  }: {
    readonly relay: string
    readonly mailbox: string
    readonly client: Pick<RelayClient, 'fetch' | 'publish'>
  }): Promise<number> {
    const { options, vault, clock, emit, random } = this.#context
    const { inbox } = options.secrecy!
    const now = Math.floor(clock.now() / 1_000)
    const next = (Math.floor(now / DAY) + 1 + random() / 24) * DAY * 1_000
    const served = await client.fetch(mailbox)
    const there = served === undefined ? undefined : await readBundle(inbox.key, served)
    const held = there?.encrypt
    const recipients = vault!.state.days.map(({ seed }) => hybridKey(seed).recipient)
    // A user who has lost the state cannot know the bundle.
    if (there !== undefined && recipients.length > 0 && !recipients.includes(there.encrypt)) {
      emit({ kind: 'other-bundle', relay })
      // Another client publishes each day. If it does not, the bundle is from before the state was restored from a backup,
      // and this client is the only one that can replace it.
      if (there.time >= Math.floor(now / DAY) * DAY) return next
    }
    let key = ''
    // The private half is stored before anyone can use the public one.
    await vault!.change((state) => {
      const made = today(tick(state, now), now, () => crypto.getRandomValues(new Uint8Array(SEED_BYTES)))
      key = made.key.recipient
      return made.state
    })
    if (held === key) return next
    const { text } = await makeBundle(inbox, { encrypt: key, now })
    await client.publish(text)
    await vault!.change((state) => onPublished(state, now))
    return next
  }
}
