import { armor, Encrypter, generateX25519Identity, identityToRecipient } from 'age-encryption'
import { beforeAll, describe, expect, test } from 'vitest'
import { BackupError, type BackupProblem, kindOfBackup, openBackup, sealBackup } from '../../src/onion/backup.ts'
import { encodeArchive } from '../../src/onion/archive.ts'
import { createService, ServiceError } from '../../src/onion/service.ts'
import { TORS } from '../support/service.ts'

let identity: string
let sealed: Uint8Array
beforeAll(async () => {
  identity = await generateX25519Identity()
  sealed = await sealBackup(TORS, { recipients: [await identityToRecipient(identity)] })
})

const open = (file: Uint8Array, identities = [identity]) => openBackup(file, { identities })

async function sealRaw(bytes: Uint8Array): Promise<Uint8Array> {
  const encrypter = new Encrypter()
  encrypter.addRecipient(await identityToRecipient(identity))
  return encrypter.encrypt(bytes)
}

test('opens by its key, as text, too', async () => {
  expect(await open(sealed)).toEqual(new Map([...TORS].map(([path, bytes]) => [path, new Uint8Array(bytes)])))
  expect((await open(Buffer.from(armor.encode(sealed)))).size).toBe(3)
  expect(kindOfBackup(sealed)).toBe('identity')
})

test('opens by its passphrase, and by no other', { timeout: 60_000 }, async () => {
  const locked = await sealBackup(TORS, { passphrase: 'correct horse' })
  expect(kindOfBackup(locked)).toBe('passphrase')
  expect((await openBackup(locked, { passphrase: 'correct horse' })).size).toBe(3)
  await expect(openBackup(locked, { passphrase: 'correct horsf' })).rejects.toThrow(new BackupError('wrong-passphrase'))
  await expect(open(locked)).rejects.toThrow(new BackupError('wants-passphrase'))
  await expect(openBackup(sealed, { passphrase: 'x' })).rejects.toThrow(new BackupError('wants-identity'))
})

test('a flipped byte anywhere is noticed, and nothing is given out', async () => {
  const header = Buffer.from(sealed).indexOf('\n', Buffer.from(sealed).indexOf('\n--- ') + 1)
  const step = 37
  for (let at = 0; at < sealed.length; at += at < header + 20 ? 1 : step) {
    const flipped = Uint8Array.from(sealed)
    flipped[at]! ^= 1
    const problems: BackupProblem[] = at > header ? ['damaged'] : ['no-age-file', 'wrong-identity']
    const failed = await open(flipped).then(
      () => 'opened',
      (error: unknown) => (error instanceof BackupError ? error.code : error),
    )
    expect(problems, `byte ${at}`).toContain(failed)
  }
})

describe('refused, each for its reason', () => {
  test.each<[string, BackupProblem, () => Uint8Array | Promise<Uint8Array>]>([
    ['nothing', 'no-age-file', () => new Uint8Array()],
    ['a text', 'no-age-file', () => Buffer.from('hello\n')],
    ['the first line alone', 'no-age-file', () => sealed.subarray(0, 22)],
    ['a broken armor', 'no-age-file', () => Buffer.from('-----BEGIN AGE ENCRYPTED FILE-----\nx\n')],
    ['its end cut off', 'damaged', () => sealed.subarray(0, -1)],
    ['all but the header cut off', 'damaged', () => sealed.subarray(0, 300)],
    ['something after it', 'damaged', () => Buffer.concat([sealed, Buffer.from('x')])],
    ['a good file of something else', 'no-archive', () => sealRaw(Buffer.from('hello'))],
    ['a good file of nothing', 'no-archive', () => sealRaw(new Uint8Array())],
  ])('%s: %s', async (_name, code, file) => {
    await expect(open(await file())).rejects.toThrow(new BackupError(code))
  })

  test("somebody else's key", async () => {
    await expect(open(sealed, [await generateX25519Identity()])).rejects.toThrow(new BackupError('wrong-identity'))
  })

  test('a good file whose keys do not make its address', async () => {
    const archive = encodeArchive(new Map([...TORS, ['hostname', createService().get('hostname')!]]))
    await expect(open(await sealRaw(archive))).rejects.toThrow(new ServiceError('foreign-hostname'))
  })

  test('to be made of what is no whole service', async () => {
    const recipients = [await identityToRecipient(identity)]
    await expect(sealBackup(new Map([...TORS].slice(1)), { recipients })).rejects.toThrow(ServiceError)
  })
})
