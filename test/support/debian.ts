/**
 * Debian file systems for tests, made from Debian's packages by mmdebstrap and cached in the checkout for a
 * week. Tests use no image registry.
 */
import { existsSync, globSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './process.ts'

/** The Debian release of the file systems; the machine itself may run an older one. */
export const SUITE = 'trixie'
const CACHE = join(import.meta.dirname, '../../node_modules/.cache')
const CACHE_MS = 7 * 86_400_000

/**
 * Returns a cached folder, which `make` fills completely or not at all. A folder of the week before last is removed.
 * Test files that run at the same time may all make it: the first one that is ready puts it in place, and it stays.
 * @throws the error of `make`; nothing stays behind then
 */
export async function cached(name: string, make: (folder: string) => Promise<void>, cache = CACHE): Promise<string> {
  const week = Math.floor(Date.now() / CACHE_MS)
  const place = join(cache, `${name}-${week}`)
  if (existsSync(place)) return place
  mkdirSync(cache, { recursive: true })
  const folder = mkdtempSync(join(cache, `new-${name}-`))
  try {
    await make(folder)
    // Another process may use the folder there, so nothing replaces it.
    if (!existsSync(place)) renameSync(folder, place)
  } catch (error) {
    if (!existsSync(place)) throw error
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  for (const old of globSync(`${name}-*`, { cwd: cache }))
    if (Number(old.slice(name.length + 1)) < week - 1) rmSync(join(cache, old), { recursive: true, force: true })
  return place
}

/** Makes a tar file of a minimal Debian with these packages. */
export async function makeDebian(file: string, mirror: string, packages: readonly string[]): Promise<void> {
  await succeed('mmdebstrap', '--quiet', '--variant=minbase', `--include=${packages.join(',')}`, SUITE, file, mirror)
}

/** Unpacks packages of {@link SUITE} into a folder without installing them, because they belong to another release. */
export async function unpackPackages(folder: string, mirror: string, packages: readonly string[]): Promise<void> {
  const apt = `${folder}.apt`
  for (const each of ['lists/partial', 'cache/archives/partial', 'debs']) mkdirSync(join(apt, each), { recursive: true })
  writeFileSync(join(apt, 'sources.list'), `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror} ${SUITE} main\n`)
  const settings = {
    'Dir::Etc::sourcelist': join(apt, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(apt, 'lists'),
    'Dir::Cache': join(apt, 'cache'),
    'APT::Sandbox::User': 'root',
  }
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`])
  await succeed('apt-get', ...options, '-qq', 'update')
  const { code, stderr } = await run(['apt-get', ...options, '-qq', 'download', ...packages], { cwd: join(apt, 'debs') })
  if (code !== 0) throw new Error(stderr)
  for (const file of globSync('*.deb', { cwd: join(apt, 'debs') })) await succeed('dpkg-deb', '-x', join(apt, 'debs', file), folder)
  rmSync(apt, { recursive: true })
}

/** Finds the mirror from which this machine gets Debian's packages. */
export async function findMirror(): Promise<string> {
  const { stdout } = await run(['apt-get', 'indextargets', '--format', '$(REPO_URI)'])
  const uris = stdout.split('\n')
  const mirror = uris.find((uri) => /\/debian\/?$/.test(uri))
  if (mirror === undefined) throw new Error('apt has no source of Debian’s own packages')
  return mirror
}

/** @throws Error with the program's output if it fails. @returns its standard output */
export async function succeed(...command: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command)
  if (code !== 0) throw new Error(`${command[0]}: ${stderr}`)
  return stdout
}
