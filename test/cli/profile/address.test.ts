import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { asfaleia } from '../../support/command.ts'
import { scratch, writeService } from '../../support/service.ts'

test('address reads the service from a flag, the environment, or the folder of `asfaleia start`', async () => {
  const around = scratch()
  mkdirSync(join(around, 'state'))
  const { folder, address } = writeService(join(around, 'state'))
  const shown = { code: 0, out: `${address}\n`, err: '' }
  expect(await asfaleia(['address', '--service', folder])).toEqual(shown)
  expect(await asfaleia(['address', '--name-file', join(folder, 'hostname')])).toEqual(shown)
  expect(await asfaleia(['address'], { env: { ASFALEIA_SERVICE: folder } })).toEqual(shown)
  expect(await asfaleia(['address'], { env: { ASFALEIA_NAME_FILE: join(folder, 'hostname'), ASFALEIA_SERVICE: '/nowhere' } })).toEqual(
    shown,
  )
  expect(await asfaleia(['address'], { env: { ASFALEIA_STATE: join(around, 'state') } })).toEqual(shown)
  expect(await asfaleia(['address', '--json', '--service', folder])).toEqual({ code: 0, out: `{"address":"${address}"}\n`, err: '' })
})

test('address --qr prints a QR code', async () => {
  const { folder, address } = writeService(scratch())
  const { out } = await asfaleia(['address', '--qr', '--service', folder])
  expect(out.startsWith(`${address}\n\n`)).toBe(true)
  expect(out.match(/^ {4}[█▀▄ ]{30,} {4}$/gm)?.length).toBeGreaterThan(14)
})

test.each([
  ['a missing file', '', 'no such file or folder', /tor writes it when it first starts/],
  ['a file without a name', 'hello\n', 'contains no onion address', /HiddenServiceDir/],
  ['a mistyped name', 'd6d5iaoxegv6q2ku3rsog2yybgdn74deulgwkrqlsyzb25ovulh6gzae.onion\n', 'contains no onion address', /HiddenServiceDir/],
  ['a file with an escape sequence', '\u001b[2J', 'contains no onion address', /HiddenServiceDir/],
])('address reports %s in one line and a hint', async (_name, content, problem, hint) => {
  const path = join(scratch(), 'hostname')
  if (content !== '') writeFileSync(path, content)
  const { code, out, err } = await asfaleia(['address', '--name-file', path])
  expect({ code, out }).toEqual({ code: 1, out: '' })
  const [error, second, ...rest] = err.split('\n')
  expect(error).toContain(problem)
  expect(error).toContain(path)
  expect(second).toMatch(hint)
  expect(rest).toEqual([''])
})

test.each([[['x']], [['--name-file', 'a', '--service', 'b']], [['--qq']]])('address %j is a usage error', async (argv) => {
  expect(await asfaleia(['address', ...argv])).toMatchObject({ code: 2, out: '' })
})
