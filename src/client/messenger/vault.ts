/** The secrets of the user, as a messenger uses them: read once, and stored after each change. */
import type { SecretStore } from './options.ts'
import { MessengerError } from './error.ts'
import { decodeSecrets, encodeSecrets, type State } from './secrets.ts'

type Step = (state: State) => State

export class Vault {
  readonly #store: SecretStore
  #state: State = decodeSecrets(undefined)!
  readonly #onAddresses: () => void
  #tail: Promise<unknown> = Promise.resolve()

  /** @param onAddresses called when there are other addresses than before */
  constructor(store: SecretStore, onAddresses: () => void) {
    this.#store = store
    this.#onAddresses = onAddresses
  }

  get state(): State {
    return this.#state
  }

  /** @throws {MessengerError} `broken-secrets`; errors of the store */
  async load(): Promise<void> {
    const text = await this.#store.load()
    const state = decodeSecrets(text)
    text?.fill(0)
    if (state === undefined) throw new MessengerError('broken-secrets')
    this.#state = state
  }

  /**
   * Changes the state, after all changes that were asked for before.
   * @throws errors of the store: the state stays as it was
   */
  change(step: Step): Promise<void> {
    const work = this.#tail.then(async () => {
      const state = step(this.#state)
      if (state === this.#state) return
      const text = encodeSecrets(state)
      try {
        await this.#store.save(text)
      } finally {
        text.fill(0)
      }
      const before = this.#state
      this.#state = state
      // Nothing else holds the seed of a recipient.
      const kept = new Set(state.days.map(({ seed }) => seed))
      for (const { seed } of before.days) if (!kept.has(seed)) seed.fill(0)
      if (before.addresses !== state.addresses) this.#onAddresses()
    })
    this.#tail = work.catch(() => {})
    return work
  }
}
