import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { asfaleia } from '../../support/command.ts'
import { CLIENT, list, scratch, TORS, writeService } from '../../support/service.ts'

const OLD = 'd6d5iaoxegv6q2ku3rsog2yybgdn74deulgwkrqlsyzb25ovulh6gzad.onion'

test('rotate makes a new address with the same clients, keeps the old one, and prints the next steps', async () => {
  const around = scratch()
  const { folder } = writeService(around, 'onion', new Map([...TORS, ['authorized_clients/alice.auth', CLIENT]]))
  const before = list(folder)
  const to = join(around, 'second')
  const { code, out, err } = await asfaleia(['rotate', '--service', folder, '--to', to])
  expect([code, err]).toEqual([0, ''])
  const [address] = out.split('\n')
  expect(address).toMatch(/^[a-z2-7]{56}\.onion$/)
  expect(address).not.toBe(OLD)
  expect(out).toContain(`HiddenServiceDir ${to}\n`)
  expect(out).toContain(`--name-file ${to}/hostname --moved-from ${OLD}\n`)
  expect(out).toContain(`asfaleia rotate --end ${OLD}\n`)
  expect(out).toContain('The new service has the 1 authorized client of the old one.')
  expect(list(folder)).toEqual(before)
  expect(Object.keys(list(to))).toEqual(Object.keys(before))
  expect(list(to)['authorized_clients/alice.auth']).toBe(before['authorized_clients/alice.auth'])
  expect((await asfaleia(['address', '--service', to])).out).toBe(`${address}\n`)
})

test('rotate in the appliance prints the steps of docs/appliance.md, and refuses a folder that would not be served', async () => {
  const around = scratch()
  const { folder } = writeService(around, 'onion', TORS)
  const env = { ASFALEIA_SERVICE: folder, ASFALEIA_APPLIANCE: 'on' }
  const before = list(around)
  const elsewhere = await asfaleia(['rotate', '--to', join(around, 'second')], { env })
  expect(elsewhere).toMatchObject({ code: 2, out: '', err: expect.stringContaining(`--to ${join(around, 'next')}`) })
  expect(list(around)).toEqual(before)
  const { code, out } = await asfaleia(['rotate', '--to', join(around, 'next')], { env })
  expect(code).toBe(0)
  expect(out).not.toMatch(/HiddenService|--name-file|torrc/)
  // Each command of the document must appear, in order.
  const document = readFileSync(join(import.meta.dirname, '../../../docs/appliance.md'), 'utf8')
  const [, section] = document.split('## Move to a new address')
  const commands = section!
    .split('\n## ')[0]!
    .match(/^ {4}docker compose .*$/gm)!
    .map((line) => line.trim())
  expect(commands[0]).toMatch(/^docker compose run --rm -T keys rotate --to /)
  const said = out.match(/^ {5}docker compose .*$/gm)!.map((line) => line.trim().replace(OLD, 'OLD.onion'))
  expect(said.filter((line) => !line.includes(' backup '))).toEqual(commands.slice(1))
})

test('rotate --end destroys the old keys and no others', async () => {
  const around = scratch()
  const { folder, address } = writeService(around)
  const other = writeService(around, 'other')
  const before = list(around)
  const wrong = await asfaleia(['rotate', '--service', folder, '--end', other.address])
  expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('is another one') })
  expect(await asfaleia(['rotate', '--service', folder, '--end', 'old'])).toMatchObject({ code: 2 })
  expect(list(around)).toEqual(before)
  expect(await asfaleia(['rotate', '--service', folder, '--end', address])).toEqual({
    code: 0,
    out: `the keys of ${address} are destroyed\n`,
    err: '',
  })
  expect(existsSync(folder)).toBe(false)
  expect(existsSync(other.folder)).toBe(true)
})

test('rotate overwrites nothing, and refuses a folder that is not a service', async () => {
  const around = scratch()
  const { folder } = writeService(around)
  mkdirSync(join(around, 'new'))
  writeFileSync(join(around, 'new', 'mine'), '')
  const before = list(around)
  expect(await asfaleia(['rotate', '--service', folder, '--to', join(around, 'new')])).toMatchObject({ code: 1, out: '' })
  expect(await asfaleia(['rotate', '--service', join(around, 'new'), '--to', join(around, 'newer')])).toMatchObject({ code: 1, out: '' })
  expect(await asfaleia(['rotate', '--service', folder])).toMatchObject({ code: 2, out: '' })
  expect(list(around)).toEqual(before)
})
