/** The user's secrets at relays on the disk. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { generateSeedKey } from '../../../src/auth/seed.ts'
import { openSecrets } from '../../../src/cli/profile/secrets.ts'
import { sealFor } from '../../../src/client/format/envelope.ts'
import { encodeText } from '../../../src/client/format/field.ts'
import { identityOf } from '../../../src/client/format/identity.ts'
import { run } from '../../support/process.ts'

const SECRETS = join(import.meta.dirname, '../../../src/cli/profile/secrets.ts')
const identity = identityOf(generateSeedKey())

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'asfaleia-secrets-'))
})
afterEach(() => rmSync(root, { recursive: true }))

test('the secrets are read as they were written, encrypted and for the user alone', async () => {
  const folder = join(root, 'state')
  const secrets = openSecrets(folder, identity)
  expect(await secrets.load()).toBeUndefined()
  await secrets.save(encodeText('one\n'))
  await secrets.save(encodeText('two\n'))
  expect(await openSecrets(folder, identity).load()).toEqual(encodeText('two\n'))
  expect(readdirSync(folder)).toEqual(['secrets.age'])
  expect(statSync(join(folder, 'secrets.age')).mode & 0o777).toBe(0o600)
  expect(readFileSync(join(folder, 'secrets.age'), 'latin1')).toMatch(/^age-encryption\.org\/v1\n-> ssh-ed25519 /)
})

test('a damaged file, one of another key, and one that is too large are named, and left as they are', async () => {
  const path = join(root, 'secrets.age')
  const secrets = openSecrets(root, identity)
  await secrets.save(encodeText('one\n'))
  const cases: readonly (readonly [Uint8Array, RegExp])[] = [
    [readFileSync(path).subarray(0, -1), /damaged, or encrypted to another key/],
    [new Uint8Array(0), /damaged, or encrypted to another key/],
    [await sealFor(identityOf(generateSeedKey()), encodeText('one\n')), /damaged, or encrypted to another key/],
    [new Uint8Array(1_048_577), /larger than 1048576 bytes/],
  ]
  for (const [file, message] of cases) {
    writeFileSync(path, file)
    await expect(secrets.load()).rejects.toThrow(message)
    await expect(secrets.load()).rejects.toThrow(path)
    expect(Buffer.compare(readFileSync(path), file)).toBe(0)
  }
})

test('secrets that could not be read again are not written', async () => {
  const secrets = openSecrets(root, identity)
  await secrets.save(encodeText('one\n'))
  await expect(secrets.save(new Uint8Array(1_048_576))).rejects.toThrow('larger than 1048576 bytes')
  expect(await secrets.load()).toEqual(encodeText('one\n'))
})

test('on a full disk the former secrets stay', async () => {
  const secrets = openSecrets(root, identity)
  await secrets.save(encodeText('one\n'))
  const script = `
    import { openSecrets } from ${JSON.stringify(SECRETS)}
    import { generateSeedKey } from ${JSON.stringify(join(import.meta.dirname, '../../../src/auth/seed.ts'))}
    import { identityOf } from ${JSON.stringify(join(import.meta.dirname, '../../../src/client/format/identity.ts'))}
    await openSecrets(${JSON.stringify(root)}, identityOf(generateSeedKey())).save(new Uint8Array(8_192))
      .catch((error) => process.stdout.write(error.message))`
  // A file size limit of 2,048 bytes has the effect of a full disk.
  const { stdout } = await run(['sh', '-c', 'ulimit -f 4; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', script])
  expect(stdout).toMatch(/^cannot write .*: the disk is full$/)
  expect(await secrets.load()).toEqual(encodeText('one\n'))
  expect(readdirSync(root)).toEqual(['secrets.age'])
})
