import { parseConfig } from '../../../src/config/config.ts'
import { attempt, fail, type Target, utf8 } from '../target.ts'

const noError = (): boolean => false

/** Words of the command line, then variables, then the config file, divided by a line of `==`. */
export const target: Target = {
  name: 'config',
  covers: ['config/config.ts', 'config/source.ts', 'config/value.ts', 'config/setting.ts'],
  longest: 1_000,
  // Each unknown word is compared with all options.
  stretched: 8_192,
  seeds: () => [
    '--tcp\n127.0.0.1:3308\n--unix=/run/a.sock\n--http\noff\n--config\nx\n==\nASFALEIA_MEMORY=256M\nASFALEIA_HOLD=7d\n==\n# all\nconnections = 10000\nlog-level = info\n',
    '--memory\n1G\n--per-key\n16\n--per-sender=8M\n--proxy\nhaproxy\n--strangers\nsend\n==\n==\n',
    '--name\nlocalhost\n--moved-from\nx.onion\n--admit\n/a\n--probe\noff\n--probe-every\n5m\n--bogus\n7\nextra\n==\nASFALEIA_NAME=localhost\n==\n',
    '--config\nx\n==\n==\ntcp = [::1]:3308\ntcp = off\nhandover = unix:/a\nhandover-secret = /b\nnonsense\n',
  ],
  run(input) {
    const [argv = '', env = '', file = ''] = utf8(input).split('==\n')
    const parsed = attempt(
      () =>
        parseConfig({
          argv: argv.split('\n').slice(0, -1),
          env: Object.fromEntries(env.split('\n').map((line) => [line.split('=')[0]!, line.slice(line.indexOf('=') + 1)])),
          readFile: () => file,
        }),
      noError,
    )
    if (!('value' in parsed)) return parsed.refused
    if ('config' in parsed.value) {
      const { config } = parsed.value
      for (const [key, value] of Object.entries(config)) if (typeof value === 'number' && !(value >= 0)) fail(`${key} is ${value}`)
      return 'a configuration'
    }
    const { problems } = parsed.value
    if (problems.length === 0) fail('refused without a problem')
    for (const { key, problem, hint } of problems) if (key === '' || problem === '' || hint === '') fail('a problem without a text')
    return [...new Set(problems.map(({ key }) => key))].slice(0, 1).join()
  },
}
