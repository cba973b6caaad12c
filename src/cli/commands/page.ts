/** `asfaleia page`: writes the web page of this version, and compares a relay's with it. */
import { sha256 as sha256Of } from '../../auth/crypto.ts'
import { PACKAGE_VERSION } from '../../version.ts'
import { readBytes, writeNew } from '../disk/file.ts'
import { readCommandLine } from '../program/arguments.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'
import { findHome } from '../profile/home.ts'
import { chooseSocks, readTimeout } from '../profile/profile.ts'
import { PAGE_FILE } from '../relay/page-file.ts'
import { diagnose } from '../talk/diagnosis.ts'
import { REACH_OPTIONS } from '../talk/talk.ts'
import { fetchPage, MOST_PAGE_BYTES } from '../talk/web-page.ts'

export const page = {
  name: 'page',
  usages: ['page --out FILE', 'page --sha256', 'page --check ADDRESS [--socks HOST:PORT] [--timeout SECONDS]'],
  options: {
    out: { value: 'FILE', about: 'write the web page to this file, which must not exist yet' },
    sha256: { about: 'print the SHA-256 of the web page' },
    check: { value: 'ADDRESS', about: 'fetch the web page of this relay over Tor, and compare it byte for byte' },
    ...REACH_OPTIONS,
    json: { about: 'print one JSON object' },
  },
  text: `
    The web page is Asfaleia in one file, for people without a terminal: they keep it on their own disk and open it in Tor Browser.
    This program has the file of its own version.

    --check fetches a relay's page, at port 80 of an onion address (8080 on this machine) unless ADDRESS names another port than 3308.
    The exit code is 0 if the page is the same as this version's, and 1 if it is a different one. A check shows what the relay gave to
    you, now: it may give another page to others, or to you later.`,
  examples: [
    ['write the page of this version', 'asfaleia page --out asfaleia.html'],
    ["compare a relay's page with it", 'asfaleia page --check ADDRESS.onion'],
  ],
} as const satisfies Page

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const { values, hint } = given
  const { out, check, sha256 } = values
  if ([out, check, sha256].filter((value) => value !== undefined).length !== 1)
    throw new UsageError('give one of --out, --sha256 and --check', { hint })
  for (const name of ['socks', 'timeout'] as const)
    if (check === undefined && values[name] !== undefined) throw new UsageError(`--${name} goes together with --check`, { hint })
  const own = await readOwn()
  const hash = hashOf(own)
  const print = (line: string, object: object): void => void io.stdout.write(`${values.json === true ? formatJson(object) : line}\n`)
  if (out !== undefined) {
    await writeNew(out, own, 0o644)
    print(`wrote ${sanitizeLine(out)}\nSHA-256 ${hash}`, { out, version: PACKAGE_VERSION, sha256: hash })
    return EXIT.ok
  }
  if (check === undefined) {
    print(hash, { version: PACKAGE_VERSION, sha256: hash })
    return EXIT.ok
  }
  const theirs = await fetchFrom(check, values, io)
  const same = own.equals(theirs)
  const found = hashOf(theirs)
  print(
    same
      ? `the same as this version's\nSHA-256 ${hash}`
      : `a different one\nSHA-256 ${found}; that of this version, ${PACKAGE_VERSION}, is ${hash}`,
    {
      same,
      sha256: found,
      version: PACKAGE_VERSION,
      expected: hash,
    },
  )
  io.stderr.write(
    same
      ? 'asfaleia: this shows what the relay gave to you, now: it may give another page to others, or to you later\n'
      : 'asfaleia: the relay may have another version: if no release names the number above, do not use the page\n',
  )
  return same ? EXIT.ok : EXIT.failed
}

async function fetchFrom(address: string, values: { readonly socks?: string; readonly timeout?: string }, io: Io): Promise<Uint8Array> {
  const timeout = readTimeout(values.timeout)
  const socks = chooseSocks(values.socks, io, (await findHome(io.env)?.readSettings())?.socks)
  try {
    return await fetchPage(address, { socks, timeout, signal: io.signal })
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`--check: that is not the address of a relay: ${error.message}`)
    throw await diagnose(error, io, socks)
  }
}

async function readOwn(): Promise<Buffer> {
  const bytes = await readBytes(PAGE_FILE, MOST_PAGE_BYTES)
  if (bytes === undefined) throw new CliError('the web page is missing from this installation', { hint: 'in a checkout: npm run build' })
  return bytes
}

function hashOf(bytes: Uint8Array): string {
  return Buffer.from(sha256Of(bytes)).toString('hex')
}
