// groovy declarative.groovy FILE…: what Jenkins' Declarative parser would refuse, one line each; exit code 1 if there is any.
//
// Groovy accepts any call in a closure, Declarative does not: each section may appear in some places only, once, and holds
// only certain things. The rules here are those of the plugin pipeline-model-definition, as far as our files use them; what
// they do not use is refused as well. Each file is parsed by the real Groovy, as in Jenkins (2.4).

import org.codehaus.groovy.ast.ASTNode
import org.codehaus.groovy.ast.builder.AstBuilder
import org.codehaus.groovy.ast.expr.ClosureExpression
import org.codehaus.groovy.ast.expr.ConstantExpression
import org.codehaus.groovy.ast.expr.MapExpression
import org.codehaus.groovy.ast.expr.MethodCallExpression
import org.codehaus.groovy.ast.stmt.ExpressionStatement
import org.codehaus.groovy.control.CompilePhase

class Grammar {
    static final List CONDITIONS = ['always', 'changed', 'fixed', 'regression', 'aborted', 'success', 'unsuccessful',
                                    'unstable', 'failure', 'notBuilt', 'cleanup']
    // name of an option → its arguments; null: one argument without a name
    static final Map OPTIONS = [
        buildDiscarder: null, disableConcurrentBuilds: [], disableRestartFromStage: [], preserveStashes: ['buildCount'],
        quietPeriod: null, skipDefaultCheckout: [], timeout: ['time', 'unit'], timestamps: [],
    ]
    static final Map STAGE_OPTIONS = OPTIONS.subMap(['timeout', 'timestamps', 'skipDefaultCheckout'])
    static final Map PARAMETERS = [
        booleanParam: ['name', 'defaultValue', 'description'], string: ['name', 'defaultValue', 'description'],
        password: ['name', 'defaultValue', 'description'], choice: ['name', 'choices', 'description'],
    ]
    static final Map TRIGGERS = [pollSCM: null, cron: null]

    String file
    List problems = []
    List stages = []

    def problem(ASTNode node, String text) { problems.add("${file}:${node.lineNumber}: ${text}") }

    def file(List statements) {
        List pipelines = statements.findAll { called(it)?.methodAsString == 'pipeline' }
        if (pipelines.size() != 1) { problems.add("${file}: ${pipelines.size()} pipeline blocks at the top") }
        pipelines.each { pipeline(it) }
    }

    def pipeline(ExpressionStatement statement) {
        Map found = block(statement, 'agent', 'options', 'parameters', 'triggers', 'stages', 'post')
        ['agent', 'stages'].each { if (!found[it]) { problem(statement, "pipeline has no ${it}") } }
        if (found.agent) { agent(found.agent) }
        if (found.options) { calls(found.options, 'option', OPTIONS) }
        if (found.parameters) { calls(found.parameters, 'parameter', PARAMETERS, false) }
        if (found.triggers) { calls(found.triggers, 'trigger', TRIGGERS) }
        if (found.stages) { inside(found.stages).each { stage(it) } }
        if (found.post) { post(found.post) }
    }

    def agent(statement) {
        List arguments = called(statement).arguments.expressions
        if (arguments.size() != 1) { return problem(statement, 'agent takes one thing') }
        if (!(arguments[0] instanceof ClosureExpression)) {
            if (!(arguments[0].text in ['any', 'none'])) { problem(statement, "agent ${arguments[0].text}") }
            return
        }
        List kinds = inside(statement)
        if (kinds.size() != 1 || called(kinds[0])?.methodAsString != 'label') { problem(statement, 'agent: only label is known') }
    }

    def stage(statement) {
        def call = called(statement)
        if (call?.methodAsString != 'stage') { return problem(statement, 'only stages may appear in stages') }
        List arguments = call.arguments.expressions
        if (!(arguments[0] instanceof ConstantExpression && arguments[0].value instanceof String)) {
            return problem(statement, 'the name of a stage is not a plain string')
        }
        if (arguments[0].value in stages) { problem(statement, "two stages are called ${arguments[0].value}") }
        stages.add(arguments[0].value)
        Map found = block(statement, 'agent', 'when', 'options', 'steps')
        if (!found.steps || !inside(found.steps)) { problem(statement, 'a stage needs steps') }
        if (found.agent) { agent(found.agent) }
        if (found.options) { calls(found.options, 'option of a stage', STAGE_OPTIONS) }
        if (found.when) { codeBlocks(found.when, 'when', ['expression'], ['beforeAgent']) }
        if (found.steps) { codeBlocks(found.steps, 'steps', ['script']) }
    }

    def post(statement) {
        Map found = block(statement, *CONDITIONS)
        if (!found) { problem(statement, 'post is empty') }
        found.each { name, condition -> codeBlocks(condition, name, ['script']) }
    }

    // Free Groovy is allowed in `script` and `expression`; all else would be steps with rules of their own.
    def codeBlocks(statement, String where, List known, List switches = []) {
        inside(statement).each {
            def call = called(it)
            if (call?.methodAsString in switches && call.arguments.expressions*.text == ['true']) { return }
            if (!(call?.methodAsString in known)) { return problem(it, "${where} holds ${known} only, here") }
            if (!(call.arguments.expressions[-1] instanceof ClosureExpression)) { problem(it, "${call.methodAsString} is not a block") }
        }
    }

    def calls(statement, String what, Map known, boolean once = true) {
        List seen = []
        inside(statement).each {
            String name = called(it)?.methodAsString
            if (!known.containsKey(name)) { return problem(it, "${name} is not a valid ${what}") }
            if (once && name in seen) { problem(it, "${name} twice") }
            seen.add(name)
            List arguments = called(it).arguments.expressions
            if (arguments.any { each -> each instanceof ClosureExpression }) { problem(it, "a ${what} takes no block") }
            List named = arguments.findAll { each -> each instanceof MapExpression }
            if (known[name] == null) {
                if (named || arguments.size() != 1) { problem(it, "${name} takes one argument") }
            } else {
                List keys = named.collectMany { map -> map.mapEntryExpressions.collect { entry -> entry.keyExpression.text } }
                if (arguments.size() > named.size()) { problem(it, "${name}: arguments have names") }
                if (keys - known[name]) { problem(it, "${name} has no ${keys - known[name]}") }
            }
        }
        if (!seen && !problems) { problem(statement, "no ${what} at all") }
    }

    // Section → statement, of a block that may hold `known` only, each once and on a line of its own.
    Map block(statement, String... known) {
        Map found = [:]
        int last = 0
        inside(statement).each {
            def call = called(it)
            String name = call?.methodAsString
            if (!(name in known)) { return problem(it, "${name ?: it.text} may not appear here") }
            if (found.containsKey(name)) { problem(it, "${name} twice") }
            if (it.lineNumber <= last) { problem(it, "${name} needs a line of its own") }
            last = it.lastLineNumber
            if (!(call.arguments.expressions[-1] instanceof ClosureExpression) && name != 'agent') { problem(it, "${name} is not a block") }
            found[name] = it
        }
        return found
    }

    List inside(statement) {
        def closure = called(statement)?.arguments?.expressions?.getAt(-1)
        return closure instanceof ClosureExpression ? closure.code.statements : []
    }

    MethodCallExpression called(statement) {
        def expression = statement instanceof ExpressionStatement || statement.hasProperty('expression') ? statement.expression : null
        return expression instanceof MethodCallExpression && expression.implicitThis ? expression : null
    }
}

List problems = args.collectMany { String name ->
    def grammar = new Grammar(file: name)
    def parsed = new AstBuilder().buildFromString(CompilePhase.CONVERSION, false, new File(name).getText('UTF-8'))
    grammar.file(parsed[0].statements)
    return grammar.problems
}
problems.each { println(it) }
System.exit(problems ? 1 : 0)
