/** PUBLISH and FETCH: docs/protocol.md, section 4. */
import { beforeEach, describe, expect, it } from 'vitest'
import { ERRORS, type ErrorCode } from '../../src/protocol/errors.ts'
import { createWorld, type Peer, type World } from '../support/session.ts'

const error = (code: ErrorCode, detail?: number): string => `99;${code};${ERRORS[code].text}${detail === undefined ? '' : `;${detail}`}`
const DAYS = 24 * 60 * 60

let world: World
let alice: Peer
let token: string

beforeEach(() => {
  world = createWorld()
  alice = world.open()
  token = alice.login('alice')
})

describe('PUBLISH', () => {
  it('publishes, replaces and takes down a bundle', () => {
    expect(alice.say(`32;${token};key-alice\n30;${token};QUJD\n32;${token};key-alice\n`)).toEqual(['33', `31;${14 * DAYS}`, '33;QUJD'])
    expect(alice.say(`30;${token};REVG\n32;${token};key-alice\n`)).toEqual([`31;${14 * DAYS}`, '33;REVG'])
    expect(alice.say(`30;${token}\n32;${token};key-alice\n30;${token}\n`)).toEqual(['31;0', '33', '31;0'])
    expect(world.counts.filter((what) => what === 'published' || what === 'fetched')).toHaveLength(8)
  })

  it.each<[string, string, ErrorCode]>([
    ['an empty bundle', ';', 'wrong-usage'],
    ['a bundle that is not base64', ';A_==', 'wrong-usage'],
    ['base64 without padding', ';QUJ', 'wrong-usage'],
    ['a third field', ';QUJD;QUJD', 'wrong-usage'],
  ])('refuses %s', (_name, rest, code) => {
    expect(alice.say(`30;${token}${rest}\n`)).toEqual([error(code)])
  })

  it('refuses 8,196 characters and closes, and takes 8,192', () => {
    expect(alice.say(`30;${token};${'A'.repeat(8_192)}\n`)).toEqual([`31;${14 * DAYS}`])
    expect(alice.say(`30;${token};${'A'.repeat(8_196)}\n`)).toEqual([error('too-large'), '<end>'])
    const bob = world.open()
    expect(bob.say(`30;${bob.login('bob')};${'A'.repeat(8_193)}\n`)).toEqual([error('too-large'), '<end>'])
  })

  it('checks the bundle before the token', () => {
    expect(alice.say('30;none;\n30;none;QUJD\n30;none\n')).toEqual([error('wrong-usage'), error('bad-token'), error('bad-token')])
  })

  it('is denied to a key without a mailbox, and charged', () => {
    world.roles['alice'] = 'send'
    expect(alice.say(`30;${token};QUJD\n`)).toEqual([error('denied')])
    delete world.roles['alice']
    alice.say(`30;${token};${'A'.repeat(8_000)}\n30;${token}\n`)
    expect(world.charged).toEqual([8_000, 5_744])
    world.sendWait = 3
    expect(alice.say(`30;${token};QUJD\n`)).toEqual([error('rate-limited', 3)])
  })

  it('is relay-full beyond an eighth of the memory, and changed each minute it takes no more', () => {
    for (let n = 0; n < 1_000; n++) {
      world.now += 60_000
      const line = alice.say(`30;${token};${'ABCD'[n % 4]!.repeat(8_192)}\n`)[0]
      if (line!.startsWith('99;bad-token')) token = alice.login('alice')
    }
    expect(world.mailboxes.size).toMatchObject({ bundles: 1, bytes: 8_192 + 512 })
    world = createWorld({}, 8 * (8_192 + 512))
    const [bob, carol] = [world.open(), world.open()]
    expect(bob.say(`30;${bob.login('bob')};${'A'.repeat(8_192)}\n`)).toEqual([`31;${14 * DAYS}`])
    expect(carol.say(`30;${carol.login('carol')};QUJD\n`)).toEqual([error('relay-full')])
  })

  it('overwrites the bundle in the chunk', () => {
    const chunk = new Uint8Array(Buffer.from(`30;${token};QUJD\n`))
    expect(alice.feed([chunk])).toEqual([`31;${14 * DAYS}`])
    expect(chunk.every((byte) => byte === 0)).toBe(true)
  })
})

describe('FETCH', () => {
  it('checks the key of a receiver once, and then serves it', () => {
    world.eager = false
    alice.say(`32;${token};key-bob\n7\n`)
    expect(alice.read()).toEqual([])
    expect(alice.settle()).toEqual(['33', '17'])
    expect(world.keys).toEqual(['name bob', 'check', 'name bob', 'erase bob'])
  })

  it.each<[string, string, ErrorCode]>([
    ['no receiver', '', 'wrong-usage'],
    ['a receiver that does not parse', ';nonsense', 'bad-key'],
    ['an empty receiver', ';', 'bad-key'],
    ['a receiver off its curve', ';key-off-curve', 'bad-key'],
    ['a third field', ';key-bob;x', 'wrong-usage'],
  ])('refuses %s', (_name, rest, code) => {
    expect(alice.say(`32;${token}${rest}\n7\n`)).toEqual([error(code), '17'])
  })

  it('is denied to strangers, and of receivers without a mailbox; charged like a small message at least', () => {
    expect(alice.say(`32;${token};key-bob\n`)).toEqual(['33'])
    expect(world.charged).toEqual([5_744])
    world.roles['bob'] = 'send'
    expect(alice.say(`32;${token};key-bob\n`)).toEqual([error('denied')])
    delete world.roles['bob']
    world.strangers.add('alice')
    expect(alice.say(`32;${token};key-bob\n`)).toEqual([error('denied')])
    world.strangers.clear()
    world.sendWait = 3
    expect(alice.say(`32;${token};key-bob\n`)).toEqual([error('rate-limited', 3)])
  })

  it('finds nothing after 14 days, and nothing after WIPE', () => {
    alice.say(`30;${token};QUJD\n`)
    expect(alice.say(`9;${token}\n32;${token};key-alice\n`)).toEqual(['19;0', '33'])
    alice.say(`30;${token};QUJD\n`)
    world.now += 14 * DAYS * 1_000
    token = alice.login('alice')
    expect(alice.say(`32;${token};key-alice\n`)).toEqual(['33'])
  })
})
