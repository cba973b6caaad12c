import { describe, expect, test } from 'vitest'
import { isOnionName } from '../../src/config/value.ts'
import { checkService, createService, ServiceError, type ServiceProblem } from '../../src/onion/service.ts'
import { CLIENT, TORS } from '../support/service.ts'

function without(name: string): Map<string, Uint8Array> {
  return new Map([...TORS].filter(([path]) => path !== name))
}

function changed(name: string, bytes: Uint8Array | string): Map<string, Uint8Array> {
  return new Map([...TORS, [name, Buffer.from(bytes)]])
}

function flipped(name: string, at: number): Map<string, Uint8Array> {
  const bytes = Buffer.from(TORS.get(name)!)
  bytes[at]! ^= 1
  return changed(name, bytes)
}

test("checkService accepts tor's own files, with and without clients", () => {
  const address = 'd6d5iaoxegv6q2ku3rsog2yybgdn74deulgwkrqlsyzb25ovulh6gzad.onion'
  expect(checkService(TORS)).toBe(address)
  expect(checkService(changed('authorized_clients/alice.auth', CLIENT))).toBe(address)
})

test('createService makes a different, valid service each time, clamped as tor does', () => {
  const addresses = Array.from({ length: 20 }, () => {
    const made = createService()
    const secret = made.get('hs_ed25519_secret_key')!
    expect([secret[32]! & 7, secret[63]! >> 6]).toEqual([0, 1])
    return checkService(made)
  })
  expect(new Set(addresses).size).toBe(20)
  for (const address of addresses) expect(isOnionName(address)).toBe(true)
})

describe('checkService refuses', () => {
  const other = createService()
  test.each<[string, ServiceProblem, Map<string, Uint8Array>]>([
    ['no secret key', 'no-secret-key', without('hs_ed25519_secret_key')],
    ['no public key', 'foreign-public-key', without('hs_ed25519_public_key')],
    ['no hostname', 'foreign-hostname', without('hostname')],
    ["another service's secret key", 'foreign-public-key', changed('hs_ed25519_secret_key', other.get('hs_ed25519_secret_key')!)],
    ["another service's public key", 'foreign-public-key', changed('hs_ed25519_public_key', other.get('hs_ed25519_public_key')!)],
    ["another service's hostname", 'foreign-hostname', changed('hostname', other.get('hostname')!)],
    ['a flipped bit of the scalar', 'foreign-public-key', flipped('hs_ed25519_secret_key', 40)],
    ['a flipped bit of the public key', 'foreign-public-key', flipped('hs_ed25519_public_key', 40)],
    ['a flipped bit of the header', 'malformed-key', flipped('hs_ed25519_secret_key', 3)],
    ['a truncated key', 'malformed-key', changed('hs_ed25519_secret_key', TORS.get('hs_ed25519_secret_key')!.subarray(0, 95))],
    ['an empty key', 'malformed-key', changed('hs_ed25519_secret_key', '')],
    [
      'a key of zeros',
      'malformed-key',
      changed('hs_ed25519_secret_key', Buffer.concat([TORS.get('hs_ed25519_secret_key')!.subarray(0, 32), Buffer.alloc(64)])),
    ],
    ['a foreign file', 'strange-file', changed('torrc', 'x')],
    ['a path that leaves the folder', 'strange-file', changed('../hostname', 'x')],
    ['a client with a path for a name', 'strange-file', changed('authorized_clients/../../x.auth', CLIENT)],
    ['a malformed client', 'malformed-client', changed('authorized_clients/alice.auth', 'descriptor:x25519:short\n')],
    ['a second line in a client', 'malformed-client', changed('authorized_clients/alice.auth', `${CLIENT.toString()}x`)],
  ])('%s: %s', (_name, code, files) => {
    expect(() => checkService(files)).toThrow(new ServiceError(code))
  })
})
