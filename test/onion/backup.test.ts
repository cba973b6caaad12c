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

test('a backup to a key opens with that key, armored too', async () => {
  expect(await open(sealed)).toEqual(new Map([...TORS].map(([path, bytes]) => [path, new Uint8Array(bytes)])))
  expect((await open(Buffer.from(armor.encode(sealed)))).size).toBe(3)
  expect(kindOfBackup(sealed)).toBe('identity')
})

test('a backup with a passphrase opens only with that passphrase', { timeout: 60_000 }, async () => {
  const locked = await sealBackup(TORS, { passphrase: 'correct horse' })
  expect(kindOfBackup(locked)).toBe('passphrase')
  expect((await openBackup(locked, { passphrase: 'correct horse' })).size).toBe(3)
  await expect(openBackup(locked, { passphrase: 'correct horsf' })).rejects.toThrow(new BackupError('wrong-passphrase'))
  await expect(open(locked)).rejects.toThrow(new BackupError('wants-passphrase'))
  await expect(openBackup(sealed, { passphrase: 'x' })).rejects.toThrow(new BackupError('wants-identity'))
})

test('a backup with any byte flipped is refused', async () => {
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

describe('refused with the right code are', () => {
  test.each<[string, BackupProblem, () => Uint8Array | Promise<Uint8Array>]>([
    ['an empty file', 'no-age-file', () => new Uint8Array()],
    ['a text', 'no-age-file', () => Buffer.from('hello\n')],
    ['only the first line', 'no-age-file', () => sealed.subarray(0, 22)],
    ['a broken armor', 'no-age-file', () => Buffer.from('-----BEGIN AGE ENCRYPTED FILE-----\nx\n')],
    ['a missing last byte', 'damaged', () => sealed.subarray(0, -1)],
    ['only the header', 'damaged', () => sealed.subarray(0, 300)],
    ['an appended byte', 'damaged', () => Buffer.concat([sealed, Buffer.from('x')])],
    ['an encrypted text', 'no-archive', () => sealRaw(Buffer.from('hello'))],
    ['an encrypted empty file', 'no-archive', () => sealRaw(new Uint8Array())],
  ])('%s: %s', async (_name, code, file) => {
    await expect(open(await file())).rejects.toThrow(new BackupError(code))
  })

  test('a backup opened with another key', async () => {
    await expect(open(sealed, [await generateX25519Identity()])).rejects.toThrow(new BackupError('wrong-identity'))
  })

  test('an encrypted service whose keys do not match its address', async () => {
    const archive = encodeArchive(new Map([...TORS, ['hostname', createService().get('hostname')!]]))
    await expect(open(await sealRaw(archive))).rejects.toThrow(new ServiceError('foreign-hostname'))
  })

  test('an incomplete service at sealing', async () => {
    const recipients = [await identityToRecipient(identity)]
    await expect(sealBackup(new Map([...TORS].slice(1)), { recipients })).rejects.toThrow(ServiceError)
  })
})
