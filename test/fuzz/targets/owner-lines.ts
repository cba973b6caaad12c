import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { formatKey } from '../../../src/client/format/field.ts'
import { type Kinded, Lines } from '../../../src/cli/owner/lines.ts'
import { pack, unpack } from '../../../src/cli/owner/value.ts'
import { chunksOf } from '../../support/chunks.ts'
import { bob } from '../people.ts'
import { attempt, same, type Target, utf8 } from '../target.ts'

class FakeSocket extends Duplex {
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

const show = (value: unknown): string =>
  JSON.stringify(value, (_key, each: unknown) => (each instanceof Error ? `${each.name}: ${each.message}` : each)) ?? 'nothing'

async function play(input: Uint8Array, cuts: Iterable<number>): Promise<{ records: number; text: string }> {
  const socket = new FakeSocket()
  const records: Kinded[] = []
  const lines = new Lines<Kinded, Kinded>(socket as unknown as Socket, (record) => records.push(record))
  for (const chunk of chunksOf(input, cuts)) socket.push(Buffer.from(chunk))
  if (!socket.destroyed) socket.push(null)
  await lines.closed
  return { records: records.length, text: show(records) }
}

/** The lines between the owner of a profile and its clients. */
export const target: Target = {
  name: 'owner-lines',
  covers: ['cli/owner/lines.ts', 'cli/owner/value.ts', 'cli/owner/record.ts'],
  seeds: () => [
    `${JSON.stringify({ kind: 'hello', protocol: 1, version: '0.1.0', what: 'chat' })}\n{"kind":"next"}\n`,
    `${JSON.stringify(pack({ kind: 'part', n: 1, bytes: Uint8Array.of(1, 2), error: new TypeError('x') }))}\n`,
    `{"kind":"send","to":{"$key":"${formatKey(bob.key)}"},"list":[1,null,{"$error":{"name":"RelayError","code":"denied","seconds":3}}]}\n`,
    '{"kind":"x","e":{"$error":{"name":"CliError","message":"m","hint":"h","exit":2}}}\n{"kind":"y","e":{"$error":null}}\n',
  ],
  async run(input) {
    const whole = await play(input, [])
    same('whole and in chunks', whole.text, (await play(input, [1, 9, 2, 40, 100])).text)
    const [line = ''] = utf8(input).split('\n')
    const value = attempt(
      () => unpack(JSON.parse(line)),
      (error) => error instanceof SyntaxError || error instanceof TypeError,
    )
    if (!('value' in value)) return value.refused
    same('packed and unpacked', show(unpack(JSON.parse(JSON.stringify(pack(value.value)) ?? 'null'))), show(value.value))
    return `${Math.min(whole.records, 2)} records`
  },
}
