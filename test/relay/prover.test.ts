/** The relay's work on logins: its queue is bounded, and the event loop turns between the pieces of a login. */
import { createSecretKey, randomBytes } from 'node:crypto'
import { Decrypter } from 'age-encryption'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { SshIdentity } from '../../src/auth/age-ssh.ts'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import { buildChallenge } from '../../src/protocol/challenge.ts'
import type { Challenged } from '../../src/protocol/ports.ts'
import { Prover, type RelayProof } from '../../src/relay/prover.ts'
import { createPerson, type Person } from '../support/wire.ts'

let prover: Prover

beforeEach(() => {
  prover = new Prover(createSecretKey(randomBytes(32)))
})

const challenge = (line: string, how?: 'sign'): Promise<Challenged<RelayProof>> =>
  prover.challenge(Buffer.from(line), how === 'sign', { relay: 'localhost', ...prover.drawChallenge() })

async function challenged(line: string, how?: 'sign'): Promise<{ proof: RelayProof; challenge: Buffer }> {
  const result = await challenge(line, how)
  if ('refused' in result) throw new Error(result.refused)
  return { proof: result.proof, challenge: Buffer.from(result.challenge, 'base64') }
}

async function decrypt(person: Person, file: Uint8Array): Promise<Buffer> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new SshIdentity(person.key))
  return Buffer.from(await decrypter.decrypt(file))
}

const sign = (person: Person, line: Uint8Array): Buffer =>
  Buffer.from(Buffer.from(signMessage(person.key, AUTH_NAMESPACE, line)).toString('base64'))

/** Counts the turns of the event loop until the work is done. */
async function countTurns(work: Promise<unknown>): Promise<number> {
  let turns = 0
  let over = false
  const turn = (): void => {
    turns++
    if (!over) setImmediate(turn)
  }
  setImmediate(turn)
  await work
  over = true
  return turns
}

test('an answer proves only the challenged key, by the requested method, and only if it is complete', async () => {
  const [bob, eve] = [createPerson(), createPerson()]
  const sealed = await challenged(bob.line)
  const line = await decrypt(bob, sealed.challenge)
  const signed = await challenged(bob.line, 'sign')
  expect(await prover.verify(sealed.proof, line)).toBe(true)
  expect(await prover.verify(signed.proof, sign(bob, signed.challenge))).toBe(true)
  for (const [proof, answer] of [
    [sealed.proof, line.subarray(1)],
    [sealed.proof, Buffer.concat([line, Buffer.of(0)])],
    [sealed.proof, line.map((byte, at) => (at === 40 ? byte ^ 1 : byte))],
    [sealed.proof, Buffer.alloc(0)],
    [sealed.proof, sign(bob, line)],
    [signed.proof, signed.challenge],
    [signed.proof, sign(eve, signed.challenge)],
    [signed.proof, sign(bob, line)],
    [undefined, line],
    [undefined, sign(bob, signed.challenge)],
  ] as const) {
    expect(await prover.verify(proof, answer)).toBe(false)
  }
})

test('an answer to no challenge is wrong, even if it is the text of the one that the relay checks in its place', async () => {
  const drawn = { handle: '1'.repeat(15), nonce: `${'n'.repeat(42)}A` }
  const draw = vi.spyOn(Prover.prototype, 'drawChallenge').mockReturnValue(drawn)
  const made = new Prover(createSecretKey(randomBytes(32)))
  draw.mockRestore()
  const line = Buffer.from(buildChallenge({ relay: 'localhost', ...drawn }))
  expect(await made.verify(undefined, line)).toBe(false)
})

test('an invalid key is refused each time', async () => {
  // y = 1: a point of small order.
  const blob = Buffer.concat([Buffer.from([0, 0, 0, 11]), Buffer.from('ssh-ed25519'), Buffer.from([0, 0, 0, 32, 1]), Buffer.alloc(31)])
  const line = `ssh-ed25519 ${blob.toString('base64')}`
  for (let n = 0; n < 2; n++) expect(await challenge(line)).toEqual({ refused: 'bad-key' })
  expect(await challenge('ssh-dss AAAAB3NzaC1kc3M=')).toEqual({ refused: 'unsupported-key' })
})

describe('under a flood', () => {
  const QUEUE = 1_024

  test('a login over the queue limit is refused at once, and the queued ones are answered', async () => {
    const { line } = createPerson()
    const waiting = Array.from({ length: QUEUE }, () => challenge(line, 'sign'))
    let over = false
    void Promise.allSettled(waiting).then(() => (over = true))
    for (let n = 0; n < 3; n++) expect(await challenge(line, 'sign')).toEqual({ refused: 'rate-limited', detail: 1 })
    expect(over).toBe(false)
    const answers = await Promise.all(waiting)
    expect(answers.filter((answer) => 'proof' in answer)).toHaveLength(QUEUE)
    expect(await challenge(line, 'sign')).toHaveProperty('proof')
  })

  test('an answer is still verified, in its turn', async () => {
    const bob = createPerson()
    const { proof, challenge: line } = await challenged(bob.line, 'sign')
    const waiting = Array.from({ length: QUEUE }, () => challenge(bob.line, 'sign'))
    expect(await prover.verify(proof, sign(bob, line))).toBe(true)
    await Promise.all(waiting)
  })

  test('the event loop turns between the pieces of a login', async () => {
    const people = Array.from({ length: 8 }, () => createPerson())
    // Four pieces: the key, and three pieces of an age file. The last piece ends within its turn. A key that was here
    // before takes no fewer: nobody can measure whose keys were here.
    for (const time of ['first', 'again']) {
      const turns = await countTurns(Promise.all(people.map(({ line }) => challenge(line))))
      expect([time, turns >= people.length * 4 - 1]).toEqual([time, true])
    }
    const bob = people[0]!
    const { proof, challenge: line } = await challenged(bob.line, 'sign')
    const answer = sign(bob, line)
    expect(await countTurns(Promise.all(people.map(() => prover.verify(proof, answer))))).toBeGreaterThanOrEqual(people.length - 1)
  })
})
