/** The user's secrets in a messenger: each change is stored before it counts, and texts and old seeds are overwritten. */
import { describe, expect, test } from 'vitest'
import { randomBytes } from '../../../src/auth/crypto.ts'
import { decodeSecrets, encodeSecrets, makeAddress, type State, today } from '../../../src/client/messenger/secrets.ts'
import { Vault } from '../../../src/client/messenger/vault.ts'

const NOW = 1_795_000_000
const RECEIVER = `SHA256:${'A'.repeat(43)}`
const draw = (): Uint8Array => Uint8Array.from(randomBytes(32))
const withDay = (state: State): State => today(state, NOW, draw).state
const withAddress = (state: State): State => ({
  ...state,
  addresses: [...state.addresses, makeAddress(RECEIVER, 'relay.onion', draw(), NOW)],
})

function makeVault(stored?: Uint8Array) {
  /** Copies of the texts that the store saved, and the texts themselves. */
  const saved: Uint8Array[] = []
  const texts: Uint8Array[] = []
  const failures: Error[] = []
  let changes = 0
  const vault = new Vault(
    {
      load: async () => stored,
      async save(text) {
        texts.push(text)
        const failure = failures.shift()
        if (failure !== undefined) throw failure
        saved.push(text.slice())
      },
    },
    () => changes++,
  )
  return { vault, saved, texts, failures, changes: () => changes }
}

const isErased = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

describe('loading', () => {
  test('reads the stored state and overwrites its text', async () => {
    const state = withAddress(withDay(decodeSecrets(undefined)!))
    const text = encodeSecrets(state)
    const { vault } = makeVault(text)
    await vault.load()
    expect(vault.state).toEqual(state)
    expect(isErased(text)).toBe(true)
  })

  test('refuses a text that is no state, and overwrites it, too', async () => {
    const text = Uint8Array.of(1, 2, 3)
    await expect(makeVault(text).vault.load()).rejects.toMatchObject({ code: 'broken-secrets' })
    expect(isErased(text)).toBe(true)
  })
})

describe('a change', () => {
  test('is stored, and the text that was stored is overwritten', async () => {
    const { vault, saved, texts } = makeVault()
    await vault.change(withDay)
    expect(decodeSecrets(saved[0])).toEqual(vault.state)
    expect(vault.state.days).toHaveLength(1)
    expect(texts.map(isErased)).toEqual([true])
  })

  test('that changes nothing is not stored', async () => {
    const { vault, saved } = makeVault()
    await vault.change((state) => state)
    expect(saved).toEqual([])
  })

  test('does not count if the store fails, and the next change does', async () => {
    const { vault, saved, texts, failures } = makeVault()
    const before = vault.state
    failures.push(new Error('the disk is full'))
    await expect(vault.change(withDay)).rejects.toThrow('the disk is full')
    expect(vault.state).toBe(before)
    await vault.change(withAddress)
    expect([vault.state.days, vault.state.addresses.length, saved.length]).toEqual([[], 1, 1])
    expect(texts.map(isErased)).toEqual([true, true])
  })

  test('builds on the changes that were asked for before', async () => {
    const { vault } = makeVault()
    await Promise.all([vault.change(withDay), vault.change(withAddress), vault.change(withAddress)])
    expect([vault.state.days.length, vault.state.addresses.length]).toEqual([1, 2])
  })

  test('overwrites the seed of a recipient that is gone, and no other', async () => {
    const { vault } = makeVault()
    await vault.change(withDay)
    await vault.change((state) => ({ ...state, days: [...state.days, { seed: draw(), made: NOW }] }))
    const [old, kept] = vault.state.days.map(({ seed }) => seed)
    await vault.change((state) => ({ ...state, days: state.days.slice(1) }))
    expect([isErased(old!), isErased(kept!)]).toEqual([true, false])
  })

  test('is announced if it changed the addresses', async () => {
    const { vault, changes } = makeVault()
    await vault.change(withDay)
    expect(changes()).toBe(0)
    await vault.change(withAddress)
    expect(changes()).toBe(1)
  })
})
