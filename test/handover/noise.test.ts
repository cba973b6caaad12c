import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Initiator, NoiseError, respond } from '../../src/handover/noise.ts'

interface Vector {
  readonly prologue: string
  readonly psk: string
  readonly init_ephemeral: string
  readonly resp_ephemeral: string
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[]
}

const vector = JSON.parse(readFileSync(join(import.meta.dirname, '../vectors/noise.json'), 'utf8')) as Vector
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')

/** Builds the PKCS #8 form of an X25519 key (RFC 8410). */
function privateKey(hex: string): KeyObject {
  const key = Buffer.concat([bytes('302e020100300506032b656e04220420'), bytes(hex)])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

const common = { psk: bytes(vector.psk), prologue: bytes(vector.prologue) }
const fixed = () => ({
  initiator: new Initiator({ ...common, ephemeral: privateKey(vector.init_ephemeral) }),
  responder: { ...common, ephemeral: privateKey(vector.resp_ephemeral) },
})

describe('Noise_NNpsk0_25519_ChaChaPoly_SHA256', () => {
  it("writes and reads the messages of another implementation's test vector", () => {
    const { initiator, responder } = fixed()
    const [first, second, ...later] = vector.messages
    const opening = initiator.write(bytes(first!.payload))
    expect(opening.toString('hex')).toBe(first!.ciphertext)
    const there = respond(responder, opening, bytes(second!.payload))
    expect(there.payload.toString('hex')).toBe(first!.payload)
    expect(there.answer.toString('hex')).toBe(second!.ciphertext)
    const here = initiator.read(there.answer)
    expect(here.payload.toString('hex')).toBe(second!.payload)
    expect(later).toHaveLength(4)
    for (const [index, { payload, ciphertext }] of later.entries()) {
      const [from, to] = index % 2 === 0 ? [here, there] : [there, here]
      const message = from.send.encrypt(bytes(payload))
      expect(message.toString('hex')).toBe(ciphertext)
      expect(to.receive.decrypt(message).toString('hex')).toBe(payload)
    }
  })

  it('refuses an opening with any bit changed, or truncated', () => {
    const opening = bytes(vector.messages[0]!.ciphertext)
    for (let i = 0; i < opening.length * 8; i++) {
      const changed = Buffer.from(opening)
      changed[i >> 3]! ^= 1 << (i & 7)
      // X25519 ignores the highest bit of a key, but the transcript hash covers it.
      expect(() => respond(common, changed)).toThrow(NoiseError)
    }
    for (let length = 0; length < opening.length; length++) expect(() => respond(common, opening.subarray(0, length))).toThrow(NoiseError)
  })

  it('refuses an answer with any byte changed, or truncated', () => {
    const answer = bytes(vector.messages[1]!.ciphertext)
    const opened = (): Initiator => {
      const { initiator } = fixed()
      initiator.write(bytes(vector.messages[0]!.payload))
      return initiator
    }
    expect(opened().read(answer).payload.toString('hex')).toBe(vector.messages[1]!.payload)
    for (let i = 0; i < answer.length; i++) {
      const changed = Buffer.from(answer)
      changed[i]! ^= 1
      expect(() => opened().read(changed)).toThrow(NoiseError)
      expect(() => opened().read(answer.subarray(0, i))).toThrow(NoiseError)
    }
  })

  it('refuses another secret and another prologue', () => {
    const opening = (options: Partial<typeof common>): Buffer => new Initiator({ ...common, ...options }).write()
    expect(() => respond(common, opening({}))).not.toThrow()
    expect(() => respond(common, opening({ psk: randomBytes(32) }))).toThrow(NoiseError)
    expect(() => respond(common, opening({ prologue: Buffer.from('another') }))).toThrow(NoiseError)
  })

  it('refuses a peer key whose shared secret is zero', () => {
    const initiator = new Initiator(common)
    initiator.write()
    expect(() => initiator.read(Buffer.alloc(48))).toThrow(NoiseError)
  })

  it('decrypts no replayed record after a replayed opening', () => {
    const initiator = new Initiator(common)
    const opening = initiator.write()
    const here = initiator.read(respond(common, opening).answer)
    const record = here.send.encrypt(Buffer.from('take'))
    const again = respond(common, opening)
    expect(() => again.receive.decrypt(record)).toThrow(NoiseError)
  })

  it('refuses a changed, repeated or reordered record', () => {
    const initiator = new Initiator(common)
    const there = respond(common, initiator.write())
    const here = initiator.read(there.answer)
    const [one, two, three] = ['one', 'two', 'three'].map((text) => here.send.encrypt(Buffer.from(text))) as [Buffer, Buffer, Buffer]
    const changed = Buffer.from(one)
    changed[0]! ^= 1
    expect(there.receive.decrypt(one).toString()).toBe('one')
    expect(() => there.receive.decrypt(one)).toThrow(NoiseError)
    expect(() => there.receive.decrypt(two)).toThrow(NoiseError)
    expect(there.receive.decrypt(here.send.encrypt(Buffer.from('four'))).toString()).toBe('four')
    expect(() => there.receive.decrypt(three)).toThrow(NoiseError)
    expect(() => there.receive.decrypt(changed)).toThrow(NoiseError)
    expect(() => there.receive.decrypt(Buffer.alloc(15))).toThrow(NoiseError)
  })

  it('overwrites a plaintext that turns out to be forged', () => {
    const initiator = new Initiator(common)
    const there = respond(common, initiator.write())
    const here = initiator.read(there.answer)
    const record = here.send.encrypt(Buffer.alloc(20, 'x'))
    record[record.length - 1]! ^= 1
    const fill = vi.spyOn(Buffer.prototype, 'fill')
    onTestFinished(() => fill.mockRestore())
    expect(() => there.receive.decrypt(record)).toThrow(NoiseError)
    expect(fill.mock.contexts).toEqual([Buffer.alloc(20)])
  })
})
