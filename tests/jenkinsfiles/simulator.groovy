// groovy simulator.groovy ROOT < scenarios.json > what happened, as JSON
//
// What a Jenkinsfile finds in a Pipeline, as far as ours go: the steps with the arguments that their plugins know (any other
// fails), the variables, and the order in which Declarative evaluates its sections. Each call is recorded.

import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import org.codehaus.groovy.control.CompilerConfiguration

class Stop extends RuntimeException { // like AbortException: a message without a stack trace
    Stop(String message) { super(message) }
}

class Lost extends Exception { // MissingContextVariableException and its kin: a step that needs an agent has none
    Lost() { super('Required context class hudson.FilePath is missing') }
}

class World { // one build
    static final List RESULTS = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']
    Map scenario
    List events = []
    Map files = [:]
    List environment = [[BUILD_NUMBER: '7', BUILD_TAG: 'jenkins-code-7', BUILD_URL: 'http://jenkins/job/code/7/']]
    String stage = ''
    Map build = [currentResult: 'SUCCESS', displayName: '#7', description: null]
    List bound = []
    String folder = ''
    boolean lost = false // the agent of this build

    World(Map scenario) {
        this.scenario = scenario
        files.putAll(scenario.files ?: [:])
        environment.add((scenario.env ?: [:]) + (scenario.params ?: [:]).collectEntries { name, value -> [name, "$value" as String] })
        build.getBuildCauses = { String type = null ->
            (scenario.causes ?: []).findAll { type == null || it._class == type }
        }
    }

    Map env() { environment.inject([:]) { all, each -> all + each } }

    void record(String step, Map arguments) { events.add([stage: stage, step: step] + arguments) }

    void worsen(String result) {
        if (RESULTS.indexOf(result) > RESULTS.indexOf(build.currentResult)) { build.currentResult = result }
    }

    String path(String name) { folder ? "${folder}/${name}" as String : name }

    void needsAgent() {
        if (lost) { throw new Lost() }
        assert env().NODE : 'a step that needs an agent, outside of any'
    }

    int shell(String script) { // what the scenario says: the first line that matches and is not used up
        needsAgent()
        assert !script.contains('pipeline/jenkins') || files.containsKey('pipeline/.git') : 'nothing is checked out here'
        Map env = env()
        record('sh', [script: script, env: env, bound: bound.collect { it.variable ?: it.symbol }])
        Map rule = (scenario.sh ?: []).find { script.contains(it.script ?: '') && (!it.step || env.STEP == it.step) && it.left != 0 }
        if (rule == null) { return 0 }
        if (rule.times) { rule.left = (rule.left ?: rule.times) - 1 }
        files.putAll(rule.files ?: [:])
        lost = rule.loses ?: false
        if (rule.interrupt) { throw new InterruptedException(rule.interrupt as String) }
        return (rule.code ?: 0) as int
    }
}

class Env {
    World world
    def getProperty(String name) { world.env()[name] }
    void setProperty(String name, value) {
        if (name == 'world') { this.@world = value } else { world.environment[0][name] = "$value" as String }
    }
}

abstract class Steps extends Script {
    World getWorld() { binding.getVariable('world') }

    static void only(String step, Map given, String... known) {
        def strange = given.keySet() - (known as List)
        if (strange) { throw new IllegalArgumentException("${step} has no argument ${strange}") }
    }

    def plainly(String step, Map given, String... known) {
        only(step, given, known)
        world.record(step, given)
    }

    // --- steps
    def sh(Map given) {
        only('sh', given, 'script', 'returnStatus')
        int code = world.shell(given.script)
        if (given.returnStatus) { return code }
        if (code) { throw new Stop("script returned exit code ${code}") }
    }
    def echo(String text) { world.record('echo', [text: text]) }
    def sleep(Map given) { plainly('sleep', given, 'time', 'unit') }
    def error(String text) { throw new Stop(text) }
    def unstable(Map given) {
        plainly('unstable', given, 'message')
        assert given.message
        world.worsen('UNSTABLE')
    }
    def catchError(Map given, Closure body) {
        only('catchError', given, 'buildResult', 'stageResult', 'catchInterruptions', 'message')
        try {
            body()
        } catch (InterruptedException stop) {
            if (given.catchInterruptions != false) { world.worsen('ABORTED') } else { throw stop }
        } catch (Stop stop) {
            world.record('caught', [message: stop.message, stageResult: given.stageResult])
            world.worsen(given.buildResult ?: 'FAILURE')
        }
    }
    def dir(String name, Closure body) {
        String before = world.folder
        world.folder = world.path(name)
        try { body() } finally { world.folder = before }
    }
    def deleteDir() {
        world.needsAgent()
        world.files.keySet().removeAll { it.startsWith(world.folder + '/') }
    }
    def fileExists(String name) {
        world.needsAgent()
        return world.files.containsKey(world.path(name))
    }
    def timeout(Map given, Closure body) {
        only('timeout', given, 'time', 'unit')
        return body()
    }
    def node(String label, Closure body) { // another agent, with an empty workspace
        world.record('node', [label: label])
        if (!world.scenario.otherAgent) { throw new InterruptedException('Timeout has been exceeded') }
        Map files = world.files
        boolean lost = world.lost
        world.files = [:]
        world.lost = false
        try {
            return body()
        } finally {
            world.files = files
            world.lost = lost
        }
    }
    def readFile(Map given) {
        only('readFile', given, 'file', 'encoding')
        world.needsAgent()
        world.files[world.path(given.file)]
    }
    def checkout(Map given) {
        only('checkout', given, 'scm', 'poll', 'changelog')
        world.needsAgent()
        world.record('checkout', given + [folder: world.folder])
        if (world.scenario.checkout == world.folder) { throw new Stop('git fetch failed') }
        world.files[world.path('.git')] = ''
        return [GIT_COMMIT: 'c0ffee' + '0' * 34]
    }
    def scmGit(Map given) {
        only('scmGit', given, 'branches', 'extensions', 'userRemoteConfigs')
        given.userRemoteConfigs.each { only('userRemoteConfigs', it, 'name', 'url', 'refspec', 'credentialsId') }
        return given
    }
    def cloneOption(Map given) {
        only('cloneOption', given, 'shallow', 'noTags', 'reference', 'timeout', 'depth', 'honorRefspec')
        return given
    }
    def load(String name) {
        Script script = Simulator.shell(world, binding).parse(new File(Simulator.root, name - 'pipeline/'))
        world.record('load', [file: name])
        return script.run()
    }
    def withEnv(List values, Closure body) {
        world.environment.add(values.collectEntries { String each -> each.split('=', 2) as List })
        try { return body() } finally { world.environment.pop() }
    }
    def withCredentials(List bindings, Closure body) {
        assert bindings
        world.bound = bindings
        try { return body() } finally { world.bound = [] }
    }
    def gitUsernamePassword(Map given) {
        only('gitUsernamePassword', given, 'credentialsId', 'gitToolName')
        return given + [symbol: 'gitUsernamePassword']
    }
    def stash(Map given) { plainly('stash', given, 'name', 'includes', 'allowEmpty') }
    def unstash(String name) {
        world.needsAgent()
        world.record('unstash', [name: name])
        if (!world.scenario.stash) { throw new Stop("No such saved stash '${name}'") }
        world.files.putAll(world.scenario.stash)
    }
    def junit(Map given) {
        world.needsAgent()
        plainly('junit', given, 'testResults', 'allowEmptyResults', 'skipPublishingChecks', 'skipMarkingBuildUnstable')
    }
    def archiveArtifacts(Map given) {
        world.needsAgent()
        plainly('archiveArtifacts', given, 'artifacts', 'allowEmptyArchive')
    }
    def input(Map given) {
        plainly('input', given, 'id', 'message', 'ok', 'submitter', 'submitterParameter')
        assert !world.environment.any { it.NODE } : 'input holds an executor'
        if (world.scenario.approver == null) {
            throw new InterruptedException(world.scenario.answer ?: 'Timeout has been exceeded') // FlowInterruptedException
        }
        return world.scenario.approver
    }
    def script(Closure body) { body() }

    def build(Map given) {
        only('build', given, 'job', 'wait', 'parameters')
        world.record('build', given)
        if (world.scenario.noJob) { throw new Stop("No item named ${given.job} found") }
    }

    // --- `string` is a parameter in `parameters`, a value for another job's, and a binding
    def string(Map given) {
        if (given.containsKey('value')) {
            only('string', given, 'name', 'value')
            assert given.value instanceof String
        } else {
            only('string', given, 'credentialsId', 'variable')
        }
        return given
    }
    def booleanParam(Map given) {
        only('booleanParam', given, 'name', 'value')
        return given
    }

    // --- Declarative
    def pipeline(Closure body) { new Declarative(script: this, world: world).run(body) }
}

class Declarative {
    static final List CONDITIONS = ['always', 'aborted', 'success', 'unsuccessful', 'unstable', 'failure', 'cleanup']
    Script script
    World world
    Throwable first = null

    void run(Closure body) {
        Map sections = sections(body, 'agent', 'options', 'parameters', 'triggers', 'stages', 'post')
        Map asked = [:]
        if (sections.parameters) { collect(sections.parameters).each { name, given -> asked[given.name] = given } }
        world.record('parameters', [parameters: asked])
        if (sections.triggers) { world.record('triggers', [triggers: called(sections.triggers)]) }
        asked.each { name, given ->
            if (!world.scenario.params?.containsKey(name)) {
                def value = given.containsKey('choices') ? given.choices[0] : given.defaultValue
                world.scenario.params[name] = value
                world.environment[1][name] = "$value" as String
            }
        }
        node(sections.agent)
        boolean skip = world.scenario.restart != null
        called(sections.stages, true).each { String name, Closure stage ->
            if (name == world.scenario.restart) { skip = false }
            one(name, stage, skip)
        }
        world.stage = 'post'
        CONDITIONS.each { condition -> post(sections.post, condition) }
        if (first != null) { world.worsen(first instanceof InterruptedException ? 'ABORTED' : 'FAILURE') }
    }

    private void node(agent) {
        if (agent instanceof Closure) {
            world.environment[0].NODE = 'agent'
            world.record('node', [label: called(agent).label as String])
        }
    }

    private void one(String name, Closure stage, boolean skip) {
        world.stage = name
        Map parts = sections(stage, 'agent', 'when', 'options', 'steps')
        if (skip || first != null) {
            world.record('skipped', [why: skip ? 'restart' : 'failure'])
            return
        }
        try {
            Map condition = parts.when ? called(parts.when) : [:]
            if (!condition.beforeAgent) { node(parts.agent) }
            if (parts.when && !condition.expression.call()) {
                world.record('skipped', [why: 'when'])
                return
            }
            if (condition.beforeAgent) { node(parts.agent) }
            world.record('started', [:])
            inside(parts.steps as Closure, script)
        } catch (InterruptedException | Stop stop) {
            world.record('failed', [message: stop.message])
            first = stop
        } finally {
            if (parts.agent) { // its own: the next one may have another workspace
                world.environment[0].remove('NODE')
                world.files.clear()
            }
        }
    }

    private void post(Closure section, String condition) {
        Closure body = section == null ? null : called(section)[condition]
        if (first != null) { world.worsen(first instanceof InterruptedException ? 'ABORTED' : 'FAILURE') }
        String now = world.build.currentResult
        boolean wanted = condition in ['always', 'cleanup', now.toLowerCase()] || (condition == 'unsuccessful' && now != 'SUCCESS')
        if (body != null && wanted) { inside(body, script) }
    }

    private static inside(Closure body, delegate) {
        body.delegate = delegate
        body.resolveStrategy = Closure.DELEGATE_FIRST
        return body()
    }

    private static Map sections(Closure body, String... known) {
        Map found = called(body)
        Steps.only('section', found, known)
        return found
    }

    // Name → argument of each call in a block; with `named`, the first argument is the name: stage('x') { … }
    private static Map called(Closure body, boolean named = false) {
        Map found = [:]
        inside(body, new Catcher(got: { String name, arguments ->
            String key = named ? arguments[0] : name
            assert !found.containsKey(key)
            found[key] = arguments.size() ? arguments[-1] : null
        }))
        return found
    }

    private static List collect(Closure body) {
        List found = []
        inside(body, new Catcher(got: { String name, arguments -> found.add([name, arguments[0]]) }))
        return found
    }
}

class Catcher { // gets every call
    Closure got
    final String none = 'none'
    final String any = 'any'
    def invokeMethod(String name, arguments) { got(name, arguments as List) }
}

class Simulator {
    static File root

    static GroovyShell shell(World world, Binding binding) {
        def settings = new CompilerConfiguration()
        settings.scriptBaseClass = Steps.name
        return new GroovyShell(Steps.classLoader, binding, settings)
    }

    static Map scenario(Map scenario) {
        scenario.params = scenario.params ?: [:]
        def world = new World(scenario)
        def env = new Env(world: world)
        def binding = new Binding(world: world, env: env, currentBuild: world.build, params: scenario.params, scm: 'the-scm')
        String error = null
        try {
            shell(world, binding).parse(new File(root, scenario.file as String)).run()
        } catch (Throwable unexpected) {
            def where = unexpected.stackTrace.find { it.fileName?.contains('rain') || it.fileName?.contains('enkins') }
            error = "${unexpected} at ${where}"
        }
        world.build.remove('getBuildCauses')
        return [name: scenario.name, events: world.events, build: world.build, error: error]
    }
}

Simulator.root = new File(args[0])
List scenarios = new JsonSlurper().parse(System.in)
println(JsonOutput.toJson(scenarios.collect { Simulator.scenario(it) }))
