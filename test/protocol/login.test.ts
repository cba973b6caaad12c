import { describe, expect, it } from 'vitest'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { LineDecoder } from '../../src/protocol/line.ts'
import { Login } from '../../src/protocol/login.ts'
import { Output, Stock } from '../../src/protocol/output.ts'
import { createRequest } from '../../src/protocol/packets.ts'
import type { Ports, Proof, Rates } from '../../src/protocol/ports.ts'

const PROOF: Proof = { mailbox: 'm', method: 'sign' }
const HANDLE_MS = DEFAULT_LIMITS.handleSeconds * 1_000
const decoder = new LineDecoder()
const request = createRequest()

function read(packet: string): typeof request {
  decoder.clear()
  decoder.push(Buffer.from(`${packet}\n`))
  decoder.find(1_000)
  request.read(decoder.found)
  return request
}

function create(): Login<Proof> {
  let handles = 100
  const ports: Partial<Ports> = {
    limits: DEFAULT_LIMITS,
    names: () => ['localhost'],
    drawChallenge: () => ({ handle: String(handles++), nonce: 'n' }),
  }
  const rates: Partial<Rates> = { loginWait: () => 0 }
  return new Login(ports as Ports, rates as Rates, new Output(new Stock(), 'line'))
}

/** Asks for a challenge and gets it. */
function challenge(login: Login<Proof>, now: number): void {
  login.onAuth(read('0;key'), undefined, now)
  login.onChallenged({ proof: PROOF, challenge: 'text' }, now)
}

describe('the copies of a login', () => {
  it('are overwritten once the proof is done, and if the connection ends before', () => {
    for (const end of [(login: Login<Proof>) => void login.settle(), (login: Login<Proof>) => login.clear()]) {
      const login = create()
      const auth = login.onAuth(read('0;key'), undefined, 0)
      if (auth.kind !== 'challenge') throw new Error(auth.kind)
      expect([Buffer.from(auth.key).toString(), login.memory]).toEqual(['key', 3])
      end(login)
      expect([...auth.key, login.memory]).toEqual([0, 0, 0, 0])
      const verify = login.onVerify(read('2;100;answer'), '', 0)
      if (verify.kind !== 'verify') throw new Error(verify.kind)
      expect(Buffer.from(verify.answer).toString()).toBe('answer')
      end(login)
      expect(verify.answer.every((byte) => byte === 0)).toBe(true)
    }
  })
})

describe('an open challenge', () => {
  it('is forgotten at the end of the connection', () => {
    const login = create()
    challenge(login, 0)
    expect(login.nextExpiry).toBe(HANDLE_MS)
    login.clear()
    expect(login.nextExpiry).toBeUndefined()
    expect(login.onVerify(read('2;100;answer'), '', 0)).toMatchObject({ kind: 'verify', proof: undefined })
    expect(() => login.onVerified(true)).toThrow(expect.objectContaining({ code: 'auth-failed' }) as Error)
  })

  it('is forgotten in the moment in which it expires', () => {
    const login = create()
    challenge(login, 0)
    expect(login.nextExpiry).toBe(HANDLE_MS)
    login.expire(HANDLE_MS - 1)
    expect(login.nextExpiry).toBe(HANDLE_MS)
    login.expire(HANDLE_MS)
    expect(login.nextExpiry).toBeUndefined()
  })

  it('is the oldest one that goes if there are too many', () => {
    const login = create()
    for (let n = 0; n <= DEFAULT_LIMITS.handles; n++) challenge(login, n)
    expect(login.nextExpiry).toBe(HANDLE_MS + 1)
    const gone = login.onVerify(read('2;100;answer'), '', 20)
    expect(gone).toMatchObject({ kind: 'verify', proof: undefined })
    login.settle()
    expect(login.onVerify(read('2;101;answer'), '', 20)).toMatchObject({ kind: 'verify', proof: PROOF })
  })
})
